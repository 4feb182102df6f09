//! jq over data: compiled once, run on as much data as there is. It sees the data alone: no environment, no files, no
//! modules, no other input, since what an expression can see it can print.

use std::fmt;

use jaq_core::{
    Compiler, Ctx, Filter, Vars,
    compile::Undefined,
    data::JustLut,
    load::{self, Arena, File, Loader},
};
use jaq_json::{Num, Val};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use crate::model::{Class, Error, Hint, Result};

/// What jq has elsewhere and not here, because it reaches beyond the data, or ends the process.
const NOT_HERE: &[&str] = &["debug", "debug_empty", "env", "halt", "halt_error", "stderr", "stderr_empty"];

/// What jq has and its implementation here leaves to programs: a row as CSV and as TSV.
const ROWS: &str = r#"
def _row(f): if type == "array" or type == "object" then error("\(type) in a row") elif . == null then ""
  elif type == "string" then f else tostring end;
def @csv: [.[] | _row("\"" + (split("\"") | join("\"\"")) + "\"")] | join(",");
def _swap(a; b): split(a) | join(b);
def @tsv: [.[] | _row(_swap("\\"; "\\\\") | _swap("\t"; "\\t") | _swap("\n"; "\\n") | _swap("\r"; "\\r"))] | join("\t");
"#;

/// So much of an error's text is shown: it quotes data, of which there may be much.
const SHOWN: usize = 120;

/// A compiled expression.
pub struct Jq {
    text: String,
    filter: Filter<JustLut<Val>>,
}

impl Jq {
    /// Compiles an expression, `.[] | select(.status == "running") | .name`.
    ///
    /// # Errors
    /// With the place of what is wrong.
    pub fn compile(text: &str) -> Result<Self> {
        let rows = load::parse(ROWS, |parser| parser.defs()).unwrap_or_default();
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(rows);
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let arena = Arena::default();
        let loader = Loader::new(defs.filter(|def| !NOT_HERE.contains(&def.name)));
        let modules = loader.load(&arena, File { code: text, path: () }).map_err(|errors| not_read(text, errors))?;
        load::import(&modules, |_| Err(String::new())).map_err(|errors| not_read(text, errors))?;
        let filter = Compiler::default()
            .with_funs(funs.filter(|fun| !NOT_HERE.contains(&fun.0)))
            .compile(modules)
            .map_err(|errors| undefined(text, errors))?;
        Ok(Self { text: text.to_owned(), filter })
    }

    /// What the expression makes of data, one result after another.
    pub fn run<'a>(&'a self, data: &Value) -> impl Iterator<Item = Result<Value>> + 'a {
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let failed = |said: String| Error::new(Class::Failed, format!("jq `{}`: {}", self.text, shorten(&said)));
        let (data, bad) = match Val::deserialize(data) {
            Ok(data) => (Some(data), None),
            Err(error) => (None, Some(Err(failed(error.to_string())))),
        };
        let results = data.into_iter().flat_map(move |data| self.filter.id.run((context.clone(), data)));
        bad.into_iter().chain(results.map(move |result| match result {
            Ok(value) => json(&value).map_err(|said| failed(said.to_owned())),
            Err(error) => Err(match error.get_err() {
                Ok(error) => failed(error.to_string()),
                Err(_) => failed("it broke off".to_owned()),
            }),
        }))
    }
}

impl fmt::Debug for Jq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jq").field(&self.text).finish()
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// jq's value as JSON.
fn json(value: &Val) -> std::result::Result<Value, &'static str> {
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(bool) => Value::Bool(*bool),
        Val::Num(number) => self::number(number),
        Val::TStr(text) | Val::BStr(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
        Val::Arr(items) => Value::Array(items.iter().map(json).collect::<std::result::Result<_, _>>()?),
        Val::Obj(object) => {
            let pair = |(key, value): (&Val, &Val)| match json(key)? {
                Value::String(key) => Ok((key, json(value)?)),
                _ => Err("the key of an object is no string"),
            };
            Value::Object(object.iter().map(pair).collect::<std::result::Result<Map<_, _>, _>>()?)
        }
    })
}

fn number(number: &Num) -> Value {
    let float = |float: f64| Number::from_f64(float).map_or(Value::Null, Value::Number);
    match number {
        Num::Int(int) => Value::from(*int as i64),
        Num::Float(value) => float(*value),
        // JSON numbers of any length; beyond 64 bits they lose their last digits, as in jq.
        other => {
            let text = other.to_string();
            match (text.parse::<u64>(), text.parse::<f64>()) {
                (Ok(whole), _) => Value::from(whole),
                (_, Ok(value)) => float(value),
                _ => Value::Null,
            }
        }
    }
}

/// The error about a piece of the expression.
fn wrong(text: &str, piece: &str, what: &str) -> Error {
    // A piece of the text itself, unless it is of jq's own library.
    let at = (piece.as_ptr() as usize).checked_sub(text.as_ptr() as usize).filter(|at| text.is_char_boundary(*at));
    let place = match at {
        Some(at) if at == text.len() => ", at its end".to_owned(),
        Some(at) => format!(", at character {}", text[..at].chars().count() + 1),
        None => String::new(),
    };
    Error::usage(format!("`{text}` is not a jq expression{place}: {what}"))
}

fn not_read(text: &str, errors: load::Errors<&str, ()>) -> Error {
    match errors.into_iter().map(|(_, error)| error).next() {
        Some(load::Error::Lex(errors)) => match errors.first() {
            Some((expected, piece)) => wrong(text, piece, &format!("{} is expected", expected.as_str())),
            None => wrong(text, text, "it cannot be read"),
        },
        Some(load::Error::Parse(errors)) => match errors.first() {
            Some((expected, piece)) => wrong(text, piece, &format!("{} is expected", expected.as_str())),
            None => wrong(text, text, "it cannot be read"),
        },
        Some(load::Error::Io(modules)) => {
            let module = modules.first().map_or(text, |(module, _)| module);
            wrong(text, module, "there are no modules and no files here, only the data")
        }
        None => wrong(text, text, "it cannot be read"),
    }
}

fn undefined(text: &str, errors: load::Errors<&str, (), Vec<(&str, Undefined)>>) -> Error {
    let Some((name, what)) = errors.into_iter().flat_map(|(_, errors)| errors).next() else {
        return wrong(text, text, "it cannot be compiled");
    };
    if NOT_HERE.contains(&name) || name == "$ENV" || name.starts_with("input") {
        let error = wrong(text, name, &format!("`{name}` is not here: an expression sees the data alone"));
        return error.with_hint(Hint::Text("put values of the shell into the expression itself".into()));
    }
    let what = match what {
        Undefined::Filter(0) => format!("there is no filter `{name}`"),
        Undefined::Filter(arguments) => format!("there is no filter `{name}` with {arguments} arguments"),
        other => format!("there is no {} `{name}`", other.as_str()),
    };
    wrong(text, name, &what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(text: &str, data: &Value) -> Vec<Value> {
        Jq::compile(text).unwrap().run(data).map(Result::unwrap).collect()
    }

    #[test]
    fn runs_over_data() {
        let data = json!([{"vmid": 100, "mem": 1.5, "status": "running"}, {"vmid": 101, "mem": 0.0, "big": u64::MAX}]);
        assert_eq!(run(".", &data), std::slice::from_ref(&data));
        assert_eq!(run(".[] | .vmid", &data), [100, 101]);
        assert_eq!(run(r#"map(select(.status == "running")) | length"#, &data), [1]);
        assert_eq!(
            run(".[1].big, .[0].mem, (.[0] | keys)", &data),
            [json!(u64::MAX), json!(1.5), json!(["mem", "status", "vmid"])]
        );
        assert_eq!(run(r#".[] | "\(.vmid):\(.status // "off")" | ascii_upcase"#, &data), ["100:RUNNING", "101:OFF"]);
        assert_eq!(
            run("first(repeat(1)), (now > 0), infinite == 1, nan", &data),
            [json!(1), json!(true), json!(false), Value::Null]
        );
        assert_eq!(run(r#"[.[].vmid] | @csv, (["a b"] | @sh)"#, &data), ["100,101", "'a b'"]);
        let row = json!(["a\"b,\t", 1.5, null, true, "\\\n"]);
        assert_eq!(run("@csv, @tsv", &row), ["\"a\"\"b,\t\",1.5,,true,\"\\\n\"", "a\"b,\\t\t1.5\t\ttrue\t\\\\\\n"]);
    }

    #[test]
    fn is_used_more_than_once() {
        let jq = Jq::compile(".a").unwrap();
        for number in [1, 2] {
            let results: Vec<Value> = jq.run(&json!({"a": number})).map(Result::unwrap).collect();
            assert_eq!(results, [number]);
        }
    }

    #[test]
    fn sees_the_data_alone() {
        for (text, at) in [
            ("env", "at character 1: `env` is not here"),
            (". | $ENV.HOME", "at character 5: `$ENV` is not here"),
            ("[inputs]", "at character 2: `inputs` is not here"),
            ("input_filename", "at character 1: `input_filename` is not here"),
            (".a | debug", "at character 6: `debug` is not here"),
            ("halt", "at character 1: `halt` is not here"),
            ("halt_error(1)", "at character 1: `halt_error` is not here"),
            ("\"x\" | stderr", "at character 7: `stderr` is not here"),
            (r#"include "/etc/passwd"; ."#, "there are no modules and no files here"),
            (r#"import "a" as a; a::b"#, "there are no modules and no files here"),
            (r#"import "/etc/passwd" as $a; $a"#, "there are no modules and no files here"),
            ("$__prog_args", "there is no variable `$__prog_args`"),
            ("get_search_list", "there is no filter `get_search_list`"),
        ] {
            let error = Jq::compile(text).unwrap_err();
            assert!(error.to_string().contains(at), "{text}: {error}");
            assert_eq!(error.class(), Class::Usage);
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (text, said) in [
            ("", "`` is not a jq expression, at its end: term is expected"),
            (".[", "`.[` is not a jq expression, at its end: closing bracket is expected"),
            (".a | nmae", "`.a | nmae` is not a jq expression, at character 6: there is no filter `nmae`"),
            ("ü", "`ü` is not a jq expression, at character 1: token is expected"),
            ("if . then 1 ens", "`if . then 1 ens` is not a jq expression, at character 13: else or end is expected"),
            (
                "map(.;.)",
                "`map(.;.)` is not a jq expression, at character 1: there is no filter `map` with 2 arguments",
            ),
            ("$x", "`$x` is not a jq expression, at character 1: there is no variable `$x`"),
        ] {
            assert_eq!(Jq::compile(text).unwrap_err().to_string(), said);
        }
    }

    #[test]
    fn what_does_not_fit_the_data_is_an_error() {
        let results: Vec<_> = Jq::compile(".[] | .a.b").unwrap().run(&json!([{"a": {"b": 1}}, {"a": 2}])).collect();
        assert_eq!(*results[0].as_ref().unwrap(), 1);
        let error = results[1].as_ref().unwrap_err();
        assert!(error.to_string().contains("cannot index 2 with \"b\""), "{error}");
        let long = json!({"a": "x".repeat(10_000)});
        let error = Jq::compile(".a.b").unwrap().run(&long).next().unwrap().unwrap_err();
        assert!(error.to_string().len() < 500, "{error}");
        let key = Jq::compile("{(1): 2}").unwrap().run(&json!(null)).next().unwrap().unwrap_err();
        assert!(key.to_string().contains("no string"), "{key}");
    }
}
