//! `configureFailPoint: "failCommand"`, read and edited as bytes: what of it is torana's, and what the server's.
//!
//! What each field does, and in which order, is as in mongod 6.0's `evaluateFailCommandFailPoint`.

use tokio::time::Duration;

use crate::doc::{BsonType, DocWriter, Element, Value, elements, find};
use crate::rewrite::{CommandError, ErrorCode, Labels};

/// What torana answers itself.
const LOCAL: [&str; 7] =
    ["hello", "isMaster", "ismaster", "saslStart", "saslContinue", "authenticate", "logout"];

/// A fail point for commands that torana answers itself.
#[derive(Debug, Clone, PartialEq)]
pub struct FailCommand {
    commands: Vec<&'static str>,
    application: Option<String>,
    mode: Mode,
    effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    AlwaysOn,
    /// So many times more.
    Times(i64),
    /// Not so many times, then always.
    Skip(i64),
    /// With this probability.
    Probability(f64),
}

/// What a command suffers.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// It is held for so long first.
    pub blocks: Duration,
    /// Then its connection is closed.
    pub closes: bool,
    /// Or this is its answer.
    pub error: Option<CommandError>,
}

/// A request to configure `failCommand`, taken apart.
#[derive(Debug)]
pub struct Configuration {
    /// The command that the server gets: without the names of commands that never reach it.
    pub for_server: Vec<u8>,
    /// What is torana's; `None` if nothing, or if it is switched off.
    pub local: Option<FailCommand>,
    /// The application that the whole of it is for, unless it is switched off.
    pub application: Option<String>,
}

impl Configuration {
    /// Takes `command` apart; `None` if it is another fail point, or none that a server would understand.
    pub fn read(command: &[u8]) -> Option<Configuration> {
        let name = elements(command).next()?.ok()?.value.as_str()?;
        let all_read = elements(command).all(|element| element.is_ok());
        if name != "failCommand" || !all_read {
            return None;
        }
        let data = find(command, "data").and_then(|data| data.value.as_document()).unwrap_or_default();
        let mode = find(command, "mode").and_then(|mode| Mode::read(mode.value));
        let application = find(data, "appName").and_then(|name| name.value.as_str());
        let application = application.filter(|name| !name.is_empty() && mode.is_some()).map(str::to_owned);
        let commands: Vec<_> = listed(data).filter_map(|command| local(&command)).collect();
        let local = mode.filter(|_| !commands.is_empty()).map(|mode| FailCommand {
            commands,
            application: application.clone(),
            mode,
            effect: Effect::read(data),
        });
        Some(Configuration { for_server: without_local(command), local, application })
    }
}

fn listed(data: &[u8]) -> impl Iterator<Item = Element<'_>> {
    let list = find(data, "failCommands").and_then(|list| list.value.as_document());
    elements(list.unwrap_or_default()).map_while(Result::ok)
}

fn local(command: &Element<'_>) -> Option<&'static str> {
    let name = command.value.as_str()?;
    LOCAL.into_iter().find(|local| *local == name)
}

/// The command with every other byte as it stands.
fn without_local(command: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(command.len() + 32);
    let mut writer = DocWriter::begin(&mut out);
    for element in elements(command).map_while(Result::ok) {
        match (element.key, element.value.as_document()) {
            (b"data", Some(data)) => writer.document(b"data", |writer| write_data(data, writer)),
            _ => writer.raw(&element),
        };
    }
    // One that came in an OP_QUERY goes on as OP_MSG.
    if find(command, "$db").is_none() {
        writer.string(b"$db", "admin");
    }
    writer.finish();
    out
}

fn write_data(data: &[u8], writer: &mut DocWriter<'_>) {
    for element in elements(data).map_while(Result::ok) {
        match (element.key, element.value.kind) {
            (b"failCommands", BsonType::Array) => writer.array(element.key, |array| {
                let others = listed(data).filter(|command| local(command).is_none());
                for (index, command) in others.enumerate() {
                    array.value(index.to_string().as_bytes(), command.value);
                }
            }),
            _ => writer.raw(&element),
        };
    }
}

impl Mode {
    fn read(value: Value<'_>) -> Option<Mode> {
        if let Some(mode) = value.as_str() {
            return (mode == "alwaysOn").then_some(Mode::AlwaysOn);
        }
        let kind = elements(value.as_document()?).next()?.ok()?;
        match kind.key {
            b"times" => kind.value.as_i64().map(Mode::Times),
            b"skip" => kind.value.as_i64().map(Mode::Skip),
            b"activationProbability" => kind.value.as_f64().map(Mode::Probability),
            _ => None,
        }
    }
}

impl Effect {
    fn read(data: &[u8]) -> Effect {
        let value = |key| find(data, key).map(|element| element.value);
        let is_set = |key| value(key).and_then(|value| value.as_bool()).unwrap_or(false);
        let millis =
            value("blockTimeMS").filter(|_| is_set("blockConnection")).and_then(|time| time.as_i64());
        let blocks = Duration::from_millis(millis.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(0));
        let code =
            value("errorCode").and_then(|code| code.as_i64()).and_then(|code| i32::try_from(code).ok());
        let labels = value("errorLabels").and_then(|labels| labels.as_document()).unwrap_or_default();
        let labels = elements(labels).map_while(Result::ok);
        let labels = labels.filter_map(|label| Labels::named(label.value.as_str()?));
        let labels = labels.fold(Labels::NONE, Labels::and);
        let error = code.map(|code| {
            let text = "Failing command via 'failCommand' failpoint";
            CommandError::of_mongod(ErrorCode(code), text).labelled(labels)
        });
        Effect { blocks, closes: is_set("closeConnection"), error }
    }
}

impl FailCommand {
    /// Whether a command called `name`, sent by `application`, fails, and how.
    pub fn strike(&mut self, name: &str, application: Option<&str>) -> Option<Effect> {
        // Commands are matched by their aliases, too.
        let is_meant = self.commands.iter().any(|command| match name {
            "isMaster" | "ismaster" => command.eq_ignore_ascii_case(name),
            _ => *command == name,
        });
        if !is_meant || self.application.as_deref().is_some_and(|meant| Some(meant) != application) {
            return None;
        }
        let strikes = match &mut self.mode {
            Mode::AlwaysOn => true,
            Mode::Times(left) => {
                *left -= 1;
                true
            }
            Mode::Skip(0) => true,
            Mode::Skip(left) => {
                *left -= 1;
                false
            }
            Mode::Probability(probability) => rand::random::<f64>() < *probability,
        };
        strikes.then(|| self.effect.clone())
    }

    /// Whether it has struck as often as it may. The server looks after each strike, so it strikes once at least.
    pub fn is_spent(&self) -> bool {
        matches!(self.mode, Mode::Times(left) if left <= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, Document, doc};

    fn configured(mode: impl Into<Bson>, data: Document) -> (Document, Option<FailCommand>) {
        let command =
            doc! { "configureFailPoint": "failCommand", "mode": mode.into(), "data": data, "$db": "admin" };
        let read = Configuration::read(&bson::serialize_to_vec(&command).unwrap()).unwrap();
        (bson::deserialize_from_slice(&read.for_server).unwrap(), read.local)
    }

    fn strikes(fail_command: &mut FailCommand, name: &str, application: Option<&str>) -> bool {
        fail_command.strike(name, application).is_some()
    }

    #[test]
    fn what_torana_answers_fails_here_and_the_rest_on_the_server() {
        let data = doc! { "failCommands": ["find", "hello", "ismaster"], "errorCode": 91, "appName": "app" };
        let (left, local) = configured(doc! { "times": 2 }, data);
        assert_eq!(
            left.get_document("data").unwrap(),
            &doc! { "failCommands": ["find"], "errorCode": 91, "appName": "app" }
        );
        let mut local = local.unwrap();
        assert!(!strikes(&mut local, "hello", None) && !strikes(&mut local, "hello", Some("other")));
        assert!(!strikes(&mut local, "saslStart", Some("app")));
        assert_eq!(
            local.strike("isMaster", Some("app")).unwrap().error.unwrap().code,
            ErrorCode::SHUTDOWN_IN_PROGRESS
        );
        assert!(!local.is_spent());
        assert!(strikes(&mut local, "hello", Some("app")) && local.is_spent(), "twice");
    }

    #[test]
    fn modes_count_as_the_servers_do() {
        let data = doc! { "failCommands": ["hello"], "closeConnection": true, "blockConnection": true, "blockTimeMS": 5 };
        let mut skips = configured(doc! { "skip": 1 }, data.clone()).1.unwrap();
        assert_eq!([(); 3].map(|()| strikes(&mut skips, "hello", None)), [false, true, true]);
        let mut always = configured("alwaysOn", data.clone()).1.unwrap();
        let effect = always.strike("hello", Some("any")).unwrap();
        assert_eq!(effect, Effect { blocks: Duration::from_millis(5), closes: true, error: None });
        assert!(configured("off", data.clone()).1.is_none());
        for one in [Bson::Int32(1), Bson::Int64(1), Bson::Double(1.0)] {
            let mut likely = configured(doc! { "activationProbability": one }, data.clone()).1.unwrap();
            assert!(strikes(&mut likely, "hello", None));
        }
    }

    #[test]
    fn what_is_not_toranas_goes_byte_for_byte() {
        // What extended JSON would take for something else, too.
        let odd = doc! { "$oid": 5, "$numberDecimal": "1", "deep": { "a": { "b": "x".repeat(5000) } } };
        let with = |commands: &[&str]| {
            let data = doc! { "failCommands": commands, "extraInfo": odd.clone() };
            let command = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data, "$db": "admin" };
            bson::serialize_to_vec(&command).unwrap()
        };
        let read = Configuration::read(&with(&["find", "hello"])).unwrap();
        assert!(read.for_server == with(&["find"]) && read.local.is_some());
        let read = Configuration::read(&with(&["find"])).unwrap();
        assert!(read.for_server == with(&["find"]) && read.local.is_none());
        for other in [doc! { "configureFailPoint": "other", "mode": "off" }, doc! { "configureFailPoint": 1 }]
        {
            assert!(Configuration::read(&bson::serialize_to_vec(&other).unwrap()).is_none());
        }
    }

    #[test]
    fn an_application_is_one_only_while_the_fail_point_is_on() {
        let read = |mode: &str| {
            let command =
                doc! { "configureFailPoint": "failCommand", "mode": mode, "data": { "appName": "a" } };
            Configuration::read(&bson::serialize_to_vec(&command).unwrap()).unwrap().application
        };
        assert_eq!((read("alwaysOn").as_deref(), read("off")), (Some("a"), None));
    }
}
