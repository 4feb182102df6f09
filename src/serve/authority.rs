//! The authority that signs the certificates of a served host's clients, and nothing else.
//!
//! One file has its certificate and its key. Which certificates hold, and whose they are, is in the book of
//! [`Access`](super::Access).

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};

use super::book::random_bytes;
use crate::{
    model::{Class, Error, Hint, Result},
    server::{fingerprint, random},
};

/// How long it is good for, in seconds.
const LIFETIME: u64 = 20 * 365 * 24 * 60 * 60;

/// By how much clocks may differ, in seconds.
const SKEW: u64 = 5 * 60;

/// The keys that it signs for: what is weak, or slow to check, is not among them.
const KEYS: [&rcgen::SignatureAlgorithm; 3] = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519];

/// The largest request, in bytes.
const LARGEST_REQUEST: usize = 16 * 1024;

/// Signs certificates of clients.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that was just signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    /// Itself and the authority's, as PEM.
    pub(super) chain: String,
    /// Its SHA-256.
    pub(super) fingerprint: String,
    /// Its number in hex.
    pub(super) serial: String,
}

fn failed(what: &str) -> impl FnOnce(rcgen::Error) -> Error + use<'_> {
    move |error| Error::new(Class::Failed, what).with_source(error)
}

/// A moment, less so many seconds, in the words of the crate.
macro_rules! moment {
    ($time:expr, $before:expr) => {
        date_time_ymd(1970, 1, 1)
            + Duration::from_secs(u64::try_from($time.as_second()).unwrap_or_default().saturating_sub($before))
    };
}

impl Authority {
    /// Opens the file, making it, and with it a new authority, where there is none.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot = |error: io::Error| {
            Error::new(Class::Failed, format!("cannot use {}: {error}", path.display())).with_source(error)
        };
        if !path.exists() {
            make(path, &new()?).map_err(cannot)?;
        }
        Self::from_pem(&fs::read_to_string(path).map_err(cannot)?).map_err(|error| {
            let hint = format!("without {} a new one is made, and clients have to enroll again", path.display());
            error.context(path.display()).with_hint(Hint::Text(hint))
        })
    }

    fn from_pem(text: &str) -> Result<Self> {
        const UNREADABLE: &str = "the authority of clients cannot be read";
        let broken = |error| Error::new(Class::Failed, UNREADABLE).with_source(error);
        let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(broken)?;
        // What was read of a key is in no error.
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .ok()
            .and_then(|key| KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256).ok())
            .ok_or_else(|| Error::new(Class::Failed, UNREADABLE))?;
        let start = text.find("-----BEGIN CERTIFICATE-----").unwrap_or_default();
        let certificate = text[start..].to_owned();
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(failed(UNREADABLE))?;
        Ok(Self { certificate, issuer })
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a certificate for a user and the key of a request (PEM, PKCS #10). Nothing but the key is taken from it.
    ///
    /// # Errors
    /// [`Class::Usage`] when it is no request, is not signed with its own key, or has a key of another sort.
    pub(super) fn sign(&self, request: &str, user: &str, from: Timestamp, until: Timestamp) -> Result<Signed> {
        let unusable = |why: &str| Error::usage(format!("csr: {why}"));
        if request.len() > LARGEST_REQUEST {
            return Err(unusable("it is too large"));
        }
        let request = CertificateSigningRequestParams::from_pem(request)
            .map_err(|error| unusable("no certificate signing request as PEM is there").with_source(error))?;
        if !KEYS.contains(&request.public_key.algorithm()) {
            return Err(unusable("its key has to be ECDSA (P-256 or P-384) or Ed25519"));
        }
        let mut number = random_bytes::<16>()?;
        // A positive number of full length.
        number[0] = number[0] & 0x7f | 0x40;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(user);
        params.serial_number = Some(SerialNumber::from_slice(&number));
        params.not_before = moment!(from, SKEW);
        params.not_after = moment!(until, 0);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&request.public_key, &self.issuer);
        let signed = signed.map_err(failed("the certificate cannot be signed"))?;
        let chain = format!("{}{}", signed.pem(), self.certificate);
        Ok(Signed { chain, fingerprint: fingerprint(signed.der()), serial: random::hex(&number) })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// A new authority: its key and its certificate, as PEM.
fn new() -> Result<String> {
    const CANNOT: &str = "an authority of clients cannot be made";
    let now = Timestamp::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = named("pvectl serve: authority of clients");
    params.not_before = moment!(now, SKEW);
    params.not_after = moment!(now, 0) + Duration::from_secs(LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().map_err(failed(CANNOT))?;
    let certificate = params.self_signed(&key).map_err(failed(CANNOT))?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// Makes a file for its owner alone, whole or not at all. Where somebody else was faster, that one stays.
fn make(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    let made = file.write_all(content.as_bytes()).and_then(|()| file.sync_all());
    let made = made.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    fs::remove_file(&draft).and(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(params: CertificateParams) -> String {
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    fn sign(authority: &Authority, request: &str) -> Result<Signed> {
        authority.sign(request, "ann@pve", Timestamp::now(), Timestamp::now() + Duration::from_secs(60))
    }

    #[test]
    fn it_is_made_once_and_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ca.pem");
        let made = Authority::open(&path).unwrap();
        make(&path, "somebody else").unwrap();
        assert_eq!(Authority::open(&path).unwrap().certificate(), made.certificate());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        assert!(!made.certificate().contains("KEY"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "nothing").unwrap();
        assert_eq!(Authority::open(&path).unwrap_err().class(), Class::Failed);
    }

    #[test]
    fn nothing_of_a_request_counts_but_its_key() {
        let authority = Authority::from_pem(&new().unwrap()).unwrap();
        let mut greedy = CertificateParams::new(["localhost".to_owned()]).unwrap();
        greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        greedy.distinguished_name = named("root@pam");
        let modest = sign(&authority, &request(CertificateParams::default())).unwrap();
        let greedy = sign(&authority, &request(greedy)).unwrap();
        assert_ne!(modest.serial, greedy.serial);
        let bytes = |signed: &Signed| CertificateDer::from_pem_slice(signed.chain.as_bytes()).unwrap();
        let has = |signed: &Signed, text: &str| bytes(signed).windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has(&greedy, "ann@pve") && !has(&greedy, "root@pam") && !has(&greedy, "localhost"));
        for signed in [&modest, &greedy] {
            let bytes = bytes(signed);
            let (_, read) = x509_parser::parse_x509_certificate(&bytes).unwrap();
            assert!(!read.is_ca() && read.subject_alternative_name().unwrap().is_none());
            let usage = read.extended_key_usage().unwrap().unwrap().value;
            assert!(usage.client_auth && !usage.server_auth && !usage.any);
        }
        let large = "x".repeat(LARGEST_REQUEST + 1);
        for bad in ["", "nonsense", authority.certificate(), &large] {
            assert_eq!(sign(&authority, bad).unwrap_err().class(), Class::Usage);
        }
    }
}
