//! How a server is asked for JSON, and what is found out about that. Pure.
//!
//! A server that does not know a way of asking says 400 or 422, and some say 500, which may as well be an outage that passes. So a
//! way that has worked is not given up for a 500, and one that has not is given up for two of them, a question apart.

use serde::Serialize;

use crate::domain::Ms;

/// What was found out holds for so long, venue time: the server may have learned since.
const BELIEVED: Ms = Ms::days(1);

/// How a server is asked for JSON. Not every server knows each of them; the text is validated the same way whatever it promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    JsonSchema,
    /// Only where it is configured: some servers (llama-cpp-python) take a schema with the simple word and none with the other.
    JsonObjectSchema,
    JsonObject,
    None,
}

impl Format {
    /// Each of them, best first.
    pub const ALL: [Format; 4] = [Format::JsonSchema, Format::JsonObjectSchema, Format::JsonObject, Format::None];

    /// Its word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::JsonSchema => "json_schema",
            Format::JsonObjectSchema => "json_object_schema",
            Format::JsonObject => "json_object",
            Format::None => "none",
        }
    }
    /// What to try when a server refuses this one.
    pub const fn lower(self) -> Option<Self> {
        match self {
            Format::JsonSchema | Format::JsonObjectSchema => Some(Format::JsonObject),
            Format::JsonObject => Some(Format::None),
            Format::None => None,
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Format::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| format!("must be json_schema, json_object_schema, json_object or none, is '{text}'"))
    }
}

/// What a status says about the way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    Nothing,
    /// Perhaps it is not known; perhaps the server is ill.
    Perhaps,
    /// Servers that do not know it say so.
    Likely,
}

const fn hint(status: u16) -> Hint {
    match status {
        400 | 404 | 415 | 422 | 501 => Hint::Likely,
        // llama-cpp-python says so of a schema it cannot make a grammar of.
        500 => Hint::Perhaps,
        _ => Hint::Nothing,
    }
}

/// May a server that says this not know the way it was asked?
pub fn may_be_the_format(status: u16) -> bool {
    hint(status) != Hint::Nothing
}

/// What is known of a server: the best way it can be asked.
#[derive(Clone, Debug)]
pub struct Known {
    configured: Format,
    /// A lower one that was found out, and when.
    lower: Option<(Format, Ms)>,
    /// What is asked with has worked.
    sure: bool,
    /// A lower one has worked once where a higher one met a 500.
    doubt: Option<Format>,
}

impl Known {
    /// Nothing but the configuration's word, and what an earlier process has found out and when.
    pub fn new(configured: Format, remembered: Option<(Format, Ms)>) -> Self {
        let lower = remembered.filter(|(format, _)| *format > configured);
        let sure = remembered.is_some_and(|(format, _)| format >= configured);
        Self { configured, lower, sure, doubt: None }
    }

    /// What a question begins with.
    pub fn get(&mut self, now: Ms) -> Format {
        if self.lower.is_some_and(|(_, since)| now.since(since) >= BELIEVED) {
            (self.lower, self.sure) = (None, false);
        }
        self.lower.map_or(self.configured, |(format, _)| format)
    }

    /// What the same question is asked with after this status; `None`: the format is not to blame.
    pub fn after(&self, asked: Format, status: u16) -> Option<Format> {
        match hint(status) {
            Hint::Nothing => None,
            Hint::Perhaps if self.sure => None,
            Hint::Perhaps | Hint::Likely => asked.lower(),
        }
    }

    /// A reply has come to a question in this format, which `first` was asked in another, and met this status.
    pub fn worked(&mut self, format: Format, first: Option<(Format, u16)>, now: Ms) {
        match first.filter(|(asked, _)| *asked < format) {
            None => (self.sure, self.doubt) = (true, None),
            Some((_, status)) if hint(status) == Hint::Likely || self.doubt == Some(format) => {
                (self.lower, self.sure, self.doubt) = (Some((format, now)), true, None);
            }
            Some(_) => self.doubt = Some(format),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    /// Questions to a server, each a word: the statuses it meets one after the other. For each the formats it is asked in, and whether
    /// it ends in a reply.
    #[track_caller]
    fn story(known: &mut Known, at: Ms, statuses: &[u16], expected: &str) {
        let mut format = known.get(at);
        let mut first = None;
        let mut shown = vec![format.as_str()];
        for status in statuses {
            if *status == 200 {
                known.worked(format, first, at);
                shown.push("ok");
                continue;
            }
            match known.after(format, *status) {
                Some(lower) => {
                    first = first.or(Some((format, *status)));
                    format = lower;
                    shown.push(format.as_str());
                }
                None => shown.push("no"),
            }
        }
        assert_eq!(shown.join(" "), expected);
    }

    fn fresh() -> Known {
        Known::new(Format::JsonSchema, None)
    }

    #[test]
    fn what_a_server_says_it_does_not_know_is_not_asked_for_again_that_day() {
        let mut known = fresh();
        story(&mut known, Ms(0), &[400, 200], "json_schema json_object ok");
        story(&mut known, Ms(1), &[200], "json_object ok");
        story(&mut known, Ms(2), &[422, 200], "json_object none ok");
        story(&mut known, Ms(DAY + 1), &[200], "none ok");
        story(&mut known, Ms(DAY + 2), &[200], "json_schema ok");
        story(&mut known, Ms(3 * DAY), &[500], "json_schema no");
    }

    #[test]
    fn a_500_that_passes_costs_no_format_and_one_that_stays_costs_two_questions() {
        let mut known = fresh();
        story(&mut known, Ms(0), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(1), &[200], "json_schema ok");
        story(&mut known, Ms(2), &[500, 500], "json_schema no no");
        let mut known = fresh();
        story(&mut known, Ms(0), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(1), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(2), &[200], "json_object ok");
        let mut down = fresh();
        story(&mut down, Ms(0), &[500, 500, 500], "json_schema json_object none no");
        story(&mut down, Ms(1), &[503], "json_schema no");
    }

    #[test]
    fn each_has_a_word_and_steps_down_to_none() {
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
            assert_eq!(std::iter::successors(Some(format), |f| f.lower()).last(), Some(Format::None));
        }
        assert!("xml".parse::<Format>().is_err());
        let mut known = Known::new(Format::JsonObjectSchema, None);
        story(&mut known, Ms(0), &[400, 200], "json_object_schema json_object ok");
    }

    #[test]
    fn a_start_knows_what_was_found_out_before_unless_the_configuration_asks_for_less() {
        let remembered = Some((Format::JsonObject, Ms(0)));
        let mut known = Known::new(Format::JsonSchema, remembered);
        story(&mut known, Ms(1), &[500], "json_object no");
        story(&mut known, Ms(DAY), &[200], "json_schema ok");
        let mut known = Known::new(Format::None, remembered);
        story(&mut known, Ms(1), &[200], "none ok");
        let mut known = Known::new(Format::JsonSchema, Some((Format::JsonSchema, Ms(0))));
        story(&mut known, Ms(DAY * 2), &[500], "json_schema no");
    }
}
