//! Formats in which a server is asked for JSON, and what is found out about its support for them.
//! Pure.
//!
//! A server that does not know a way of asking says 400 or 422, and some say 500, which may as well
//! be an outage that passes. So a way that has worked is not given up for a 500, and one that has
//! not is given up for two of them, a question apart.
//!
//! How a server takes being asked for JSON is not kept: it is a fold over the requests of the last
//! day, here and at a start.

use serde::Serialize;

use crate::domain::Ms;

/// Time for which a finding about formats holds, venue time: the server may have learned since.
const BELIEVED: Ms = Ms::days(1);

/// Format in which a server is asked for JSON. Not every server knows each of them; the text is
/// validated the same way, whatever the format promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    JsonSchema,
    /// Only where it is configured: some servers (llama-cpp-python) take a schema with the simple
    /// word and none with the other.
    JsonObjectSchema,
    JsonObject,
    None,
}

impl ResponseFormat {
    /// Each of them, best first.
    pub const ALL: [ResponseFormat; 4] = [
        ResponseFormat::JsonSchema,
        ResponseFormat::JsonObjectSchema,
        ResponseFormat::JsonObject,
        ResponseFormat::None,
    ];

    /// Returns the format's name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            ResponseFormat::JsonSchema => "json_schema",
            ResponseFormat::JsonObjectSchema => "json_object_schema",
            ResponseFormat::JsonObject => "json_object",
            ResponseFormat::None => "none",
        }
    }
    /// Returns the format to try when a server refuses this one.
    pub const fn lower(self) -> Option<Self> {
        match self {
            ResponseFormat::JsonSchema | ResponseFormat::JsonObjectSchema => {
                Some(ResponseFormat::JsonObject)
            }
            ResponseFormat::JsonObject => Some(ResponseFormat::None),
            ResponseFormat::None => None,
        }
    }
}

impl std::str::FromStr for ResponseFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        ResponseFormat::ALL
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| {
                format!("must be json_schema, json_object_schema, json_object or none, is '{text}'")
            })
    }
}

/// Meaning of a status for the format that was asked in.
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
        400 | 415 | 422 | 501 => Hint::Likely,
        // llama-cpp-python says so of a schema it cannot make a grammar of.
        500 => Hint::Perhaps,
        _ => Hint::Nothing,
    }
}

/// True if a server that returns this status may not know the format it was asked in.
pub fn may_be_the_format(status: u16) -> bool {
    hint(status) != Hint::Nothing
}

/// A way that has worked is doubted after so many 500s in a row.
const ILL: u32 = 5;

/// One request of a question, as far as it says something about formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    pub format: ResponseFormat,
    pub status: u16,
    pub at: Ms,
}

/// Knowledge about a server: the best format it can be asked in.
#[derive(Clone, Debug)]
pub struct Known {
    configured: ResponseFormat,
    /// A lower one that was found out, and when.
    lower: Option<(ResponseFormat, Ms)>,
    /// True once the format asked in has worked.
    sure: bool,
    /// A lower one has worked once where a higher one met a 500.
    doubt: Option<ResponseFormat>,
    /// The last question met a 500 in each format it was asked in: the next begins with the last of
    /// these.
    begin: Option<ResponseFormat>,
    /// 500s in a row where nothing was in doubt.
    ill: u32,
}

impl Known {
    /// Starts from the configured format alone.
    pub const fn new(configured: ResponseFormat) -> Self {
        Self {
            configured,
            lower: None,
            sure: false,
            doubt: None,
            begin: None,
            ill: 0,
        }
    }

    /// Restores what an earlier process has found out, from the requests of its questions, oldest
    /// first. Questions not asked as this configuration would have asked them do not count.
    pub fn remembered(configured: ResponseFormat, questions: &[Vec<Spoken>]) -> Self {
        let mut known = Self::new(configured);
        for question in questions {
            let Some(first) = question.first() else {
                continue;
            };
            if known.get(first.at) != first.format {
                continue;
            }
            let mut stepped = None;
            for spoken in question {
                match spoken.status {
                    200..=299 => known.worked(spoken.format, stepped, spoken.at),
                    status if hint(status) != Hint::Nothing => {
                        stepped.get_or_insert((spoken.format, status));
                        known.failed(spoken.format, status);
                    }
                    _ => {}
                }
            }
        }
        known
    }

    fn top(&self) -> ResponseFormat {
        self.lower.map_or(self.configured, |(format, _)| format)
    }

    /// Returns the format a question begins with.
    pub fn get(&mut self, now: Ms) -> ResponseFormat {
        if self
            .lower
            .is_some_and(|(_, since)| now.since(since) >= BELIEVED)
        {
            *self = Self::new(self.configured);
        }
        self.begin.unwrap_or(self.top())
    }

    /// Returns the format for asking the same question again after this status; `None`: the format
    /// is not to blame.
    pub fn after(&self, asked: ResponseFormat, status: u16) -> Option<ResponseFormat> {
        match hint(status) {
            Hint::Nothing => None,
            Hint::Perhaps if self.sure => None,
            Hint::Perhaps | Hint::Likely => asked.lower(),
        }
    }

    /// True if this status is as likely an outage as a format that is not known. The next request
    /// is then a further try.
    pub fn is_doubtful(status: u16) -> bool {
        hint(status) == Hint::Perhaps
    }

    /// A request was refused.
    pub fn failed(&mut self, format: ResponseFormat, status: u16) {
        if hint(status) != Hint::Perhaps {
            return;
        }
        if self.sure {
            self.ill += 1;
            if self.ill >= ILL {
                (self.sure, self.ill) = (false, 0);
            }
        } else {
            // From the lowest it begins again at the top.
            self.begin = format
                .lower()
                .is_some()
                .then_some(format)
                .filter(|format| *format > self.top());
        }
    }

    /// A reply has come to a question in this format, which `first` was asked in another, and met
    /// this status.
    pub fn worked(
        &mut self,
        format: ResponseFormat,
        first: Option<(ResponseFormat, u16)>,
        now: Ms,
    ) {
        (self.begin, self.ill) = (None, 0);
        let likely =
            first.is_some_and(|(asked, status)| asked < format && hint(status) == Hint::Likely);
        if format <= self.top() {
            (self.sure, self.doubt) = (true, None);
        } else if likely || self.doubt == Some(format) {
            (self.lower, self.sure, self.doubt) = (Some((format, now)), true, None);
        } else {
            self.doubt = Some(format);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    /// A question to a server that says these statuses one after the other: the formats it is asked
    /// in, and how it ends. As in the daemon: a doubtful status is followed by one more request at
    /// most.
    #[track_caller]
    fn story(known: &mut Known, at: Ms, statuses: &[u16], expected: &str) {
        let (shown, _) = told(known, at, statuses);
        assert_eq!(shown, expected);
    }

    fn told(known: &mut Known, at: Ms, statuses: &[u16]) -> (String, Vec<Spoken>) {
        let mut format = known.get(at);
        let (mut first, mut doubts) = (None, 0);
        let (mut shown, mut spoken) = (vec![format.as_str()], Vec::new());
        for status in statuses {
            spoken.push(Spoken {
                format,
                status: *status,
                at,
            });
            if *status == 200 {
                known.worked(format, first, at);
                shown.push("ok");
                continue;
            }
            let lower = known.after(format, *status);
            known.failed(format, *status);
            doubts += u32::from(Known::is_doubtful(*status));
            match lower.filter(|_| doubts < 2) {
                Some(lower) => {
                    first = first.or(Some((format, *status)));
                    format = lower;
                    shown.push(format.as_str());
                }
                None => shown.push("no"),
            }
        }
        (shown.join(" "), spoken)
    }

    fn fresh() -> Known {
        Known::new(ResponseFormat::JsonSchema)
    }

    /// A 400 or 422 steps down to the next format for 24 hours; a 500 from a format that has worked
    /// does not.
    #[test]
    fn unsupported_format_is_skipped_for_a_day() {
        let mut known = fresh();
        story(&mut known, Ms(0), &[400, 200], "json_schema json_object ok");
        story(&mut known, Ms(1), &[200], "json_object ok");
        story(&mut known, Ms(2), &[422, 200], "json_object none ok");
        story(&mut known, Ms(DAY + 1), &[200], "none ok");
        story(&mut known, Ms(DAY + 2), &[200], "json_schema ok");
        story(&mut known, Ms(3 * DAY), &[500], "json_schema no");
    }

    /// One 500 that passes changes nothing; the same in two questions steps down.
    #[test]
    fn only_a_repeated_500_costs_a_format() {
        let mut known = fresh();
        story(&mut known, Ms(0), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(1), &[200], "json_schema ok");
        story(&mut known, Ms(2), &[500], "json_schema no");
        let mut known = fresh();
        story(&mut known, Ms(0), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(1), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(2), &[200], "json_object ok");
    }

    /// A server that supports no format at all is still found out, after four questions.
    #[test]
    fn outage_costs_two_requests_per_question() {
        let mut down = fresh();
        story(&mut down, Ms(0), &[500, 500], "json_schema json_object no");
        story(&mut down, Ms(1), &[500, 500], "json_object none no");
        story(&mut down, Ms(2), &[503], "json_schema no");
        story(&mut down, Ms(3), &[200], "json_schema ok");
        let mut plain = fresh();
        for at in [0, 2] {
            story(
                &mut plain,
                Ms(at),
                &[500, 500],
                "json_schema json_object no",
            );
            story(&mut plain, Ms(at + 1), &[500, 200], "json_object none ok");
        }
        story(&mut plain, Ms(4), &[200], "none ok");
    }

    /// A format that has worked is tried alone until five failures in a row; then lower ones are
    /// tried.
    #[test]
    fn working_format_is_doubted_after_five_500s() {
        let mut known = fresh();
        story(&mut known, Ms(0), &[200], "json_schema ok");
        for at in 1..=5 {
            story(&mut known, Ms(at), &[500], "json_schema no");
        }
        story(&mut known, Ms(6), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(7), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(8), &[200], "json_object ok");
    }

    /// An unknown word is refused.
    #[test]
    fn formats_parse_and_step_to_none() {
        for format in ResponseFormat::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
            assert_eq!(
                std::iter::successors(Some(format), |f| f.lower()).last(),
                Some(ResponseFormat::None)
            );
        }
        assert!("xml".parse::<ResponseFormat>().is_err());
        let mut known = Known::new(ResponseFormat::JsonObjectSchema);
        story(
            &mut known,
            Ms(0),
            &[400, 200],
            "json_object_schema json_object ok",
        );
    }

    /// Earlier answers count, a single success beside a 500 is only one sign, and those under
    /// another configuration count for nothing.
    #[test]
    fn restart_remembers_formats_found_earlier() {
        let questions = |known: &mut Known, stories: &[&[u16]]| -> Vec<Vec<Spoken>> {
            stories
                .iter()
                .map(|statuses| told(known, Ms(0), statuses).1)
                .collect()
        };
        let found = questions(&mut fresh(), &[&[400, 200], &[200]]);
        let mut known = Known::remembered(ResponseFormat::JsonSchema, &found);
        story(&mut known, Ms(1), &[500], "json_object no");
        story(&mut known, Ms(DAY), &[200], "json_schema ok");
        // One that worked once beside a 500 is no more than it was.
        let once = questions(&mut fresh(), &[&[500, 200]]);
        let mut known = Known::remembered(ResponseFormat::JsonSchema, &once);
        story(&mut known, Ms(1), &[500, 200], "json_schema json_object ok");
        story(&mut known, Ms(2), &[200], "json_object ok");
        // Asked so because it was configured so.
        let plain = questions(
            &mut Known::new(ResponseFormat::None),
            &[&[200], &[200], &[200]],
        );
        let mut known = Known::remembered(ResponseFormat::JsonSchema, &plain);
        story(&mut known, Ms(1), &[200], "json_schema ok");
        let worked = questions(&mut fresh(), &[&[200]]);
        let mut known = Known::remembered(ResponseFormat::JsonSchema, &worked);
        story(&mut known, Ms(1), &[500], "json_schema no");
    }
}
