//! TLS: pins, authorities, strangers, and servers that speak none.

use std::net::TcpStream;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs, server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::*;

/// A certificate for 127.0.0.1 and the authority that signed it.
struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    authority: String,
}

fn identity() -> Identity {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    Identity { certificate: certificate.der().clone(), key: key.serialize_der(), authority: authority.pem() }
}

impl Identity {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_certificate(&self.certificate)
    }

    fn serve(&self) -> Server {
        self.serve_whom(None)
    }

    /// Serves those only to whom this one's authority gave a certificate.
    fn serve_whom(&self, theirs: Option<&Self>) -> Server {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match theirs {
            Some(theirs) => {
                let mut roots = RootCertStore::empty();
                let authority = CertificateDer::from_pem_slice(theirs.authority.as_bytes()).unwrap();
                roots.add(authority).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_single_cert(vec![self.certificate.clone()], key).unwrap();
        let config = Arc::new(config);
        let wrap = move |stream: TcpStream| -> Box<dyn Stream> {
            Box::new(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream))
        };
        Server::wrapped(wrap, |_, _| ok("null"))
    }
}

impl Identity {
    fn as_pem(&self) -> (String, String) {
        let key = KeyPair::try_from(self.key.as_slice()).unwrap();
        (pem("CERTIFICATE", &self.certificate), key.serialize_pem())
    }

    fn as_client(&self) -> ClientCertificate {
        let (chain, key) = self.as_pem();
        ClientCertificate::from_pem(&chain, &key.into()).unwrap()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn https(server: &Server) -> Endpoint {
    Endpoint::parse(&format!("https://{}", server.address)).unwrap()
}

async fn ask(endpoint: Endpoint, trust: Trust) -> Result<Reply> {
    Client::builder().endpoint(endpoint).trust(trust).build().unwrap().send(&post("/x")).await
}

#[tokio::test]
async fn a_pinned_certificate_is_enough() {
    let identity = identity();
    let server = identity.serve();
    ask(https(&server).with_fingerprint(identity.fingerprint()), Trust::System).await.unwrap();
    assert_eq!(server.seen()[0].header("accept-encoding"), Some("gzip"));
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused_and_nothing_is_sent() {
    let (expected, presented) = (identity(), identity());
    let server = presented.serve();
    // Not even with an authority that vouches for it.
    let trust = Trust::CaPem(presented.authority.clone().into_bytes());
    let error = ask(https(&server).with_fingerprint(expected.fingerprint()), trust).await.unwrap_err();
    assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Never)));
    for one in [expected.fingerprint(), presented.fingerprint()] {
        assert!(error.message().contains(&one.to_string()), "{error}");
    }
    assert_eq!(error.hints(), []);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_stranger_is_refused_and_its_fingerprint_told() {
    let identity = identity();
    let server = identity.serve();
    for trust in [Trust::System, Trust::CaPem(self::identity().authority.into_bytes())] {
        let error = ask(https(&server), trust).await.unwrap_err();
        assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Never)));
        let hint = Hint::UnknownCertificate {
            endpoint: https(&server).to_string(),
            fingerprint: identity.fingerprint().to_string(),
        };
        assert_eq!(error.hints(), [hint]);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_authority_of_ones_own_is_believed() {
    let identity = identity();
    let server = identity.serve();
    ask(https(&server), Trust::CaPem(identity.authority.clone().into_bytes())).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &identity.authority).unwrap();
    ask(https(&server), Trust::CaFile(file.path().to_owned())).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_shown_to_a_server_that_asks_for_one() {
    let (identity, own, stranger) = (identity(), identity(), identity());
    let server = identity.serve_whom(Some(&own));
    let trusted = https(&server).with_fingerprint(identity.fingerprint());
    let ask = async |certificate: Option<ClientCertificate>| {
        let builder = Client::builder().endpoint(trusted.clone()).auth(Auth::Certificate { user: "ann@pve".into() });
        let builder = certificate.into_iter().fold(builder, ClientBuilder::client_certificate);
        let client = builder.build().unwrap();
        assert_eq!(client.user(), "ann@pve");
        client.send(&post("/x")).await.map_err(|error| error.class())
    };
    ask(Some(own.as_client())).await.unwrap();
    assert_eq!(ask(Some(stranger.as_client())).await.unwrap_err(), Class::Unreachable);
    assert_eq!(ask(None).await.unwrap_err(), Class::Unreachable);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_refused_without_its_key() {
    let (one, other) = (identity(), identity());
    let (chain, key) = one.as_pem();
    let wrong = other.as_pem().1;
    for (chain, key) in [(&chain, &wrong), (&chain, &chain), (&String::new(), &key), (&chain, &String::new())] {
        let error = ClientCertificate::from_pem(chain, &key.as_str().into()).unwrap_err();
        assert_eq!(error.class(), Class::Usage, "{error}");
        assert!(!format!("{error:?}").contains(&wrong[30..60]), "{error:?}");
    }
    // Both in one text.
    let both = key + &chain;
    let shown = format!("{:?}", ClientCertificate::from_pem(&both, &both.as_str().into()).unwrap());
    assert!(shown.contains(&one.fingerprint().to_string()), "{shown}");
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_a_mistake_of_the_caller() {
    let server = identity().serve();
    for trust in [
        Trust::CaFile("/nonexistent/ca.pem".into()),
        Trust::CaPem(Vec::new()),
        Trust::CaPem(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n".to_vec()),
    ] {
        assert_eq!(ask(https(&server), trust).await.unwrap_err().class(), Class::Usage);
    }
}

#[tokio::test]
async fn without_tls_no_roots_are_read() {
    let server = Server::start(|_, _| ok("null"));
    ask(server.endpoint(), Trust::CaFile("/nonexistent/ca.pem".into())).await.unwrap();
}

#[tokio::test]
async fn a_look_at_a_certificate_sends_nothing() {
    let identity = identity();
    let server = identity.serve();
    assert_eq!(presented_fingerprint(&https(&server)).await.unwrap(), identity.fingerprint());
    assert!(server.seen().is_empty());
    assert_eq!(presented_fingerprint(&server.endpoint()).await.unwrap_err().class(), Class::Usage);
    let mut nobody = closed();
    nobody.url.set_scheme("https").unwrap();
    assert_eq!(presented_fingerprint(&nobody).await.unwrap_err().class(), Class::Unreachable);
}

#[tokio::test]
async fn plain_http_where_tls_was_expected_is_named() {
    // Answers whatever comes, as an HTTP server does to a TLS greeting.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let error = ask(Endpoint::parse(&format!("https://{address}")).unwrap(), Trust::System).await.unwrap_err();
    assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Never)));
    assert!(error.message().contains("speaks plain HTTP, not TLS"), "{error}");
    assert_eq!(error.hints(), [Hint::Text(format!("the endpoint may be meant as http://{address}"))]);
}

#[tokio::test]
async fn a_trusted_endpoint_takes_over_from_one_that_is_not() {
    let (stranger, known) = (identity(), identity());
    let (first, second) = (stranger.serve(), known.serve());
    let client = Client::builder()
        .endpoint(https(&first))
        .endpoint(https(&second).with_fingerprint(known.fingerprint()))
        .build()
        .unwrap();
    client.send(&post("/x")).await.unwrap();
    assert_eq!((first.seen().len(), second.seen().len()), (0, 1));
}
