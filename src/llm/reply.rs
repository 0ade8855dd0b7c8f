//! A reply as it came → what it says of itself, and an answer or the code that says why not. Pure:
//! the same when it comes and whenever it is read again.

use serde_json::Value;

use super::answer::AnswerMode;
use super::chat::{About, about, content, status};
use super::code::Code;
use super::parse::{AnswerItem, RefusedAnswer, parse};

/// Result of reading a reply.
#[derive(Debug)]
pub struct Reply {
    pub about: About,
    pub answer: Result<Vec<AnswerItem>, RefusedAnswer>,
    /// True if the provider did its part, whatever the model made of it.
    pub provider_worked: bool,
}

/// Reads a reply to the question `snap`.
pub fn read(http_status: u16, body: &[u8], mode: AnswerMode, snap: &str) -> Reply {
    let refused = |about, refused, provider_worked| Reply {
        about,
        answer: Err(refused),
        provider_worked,
    };
    if let Some(code) = status(http_status) {
        let said: String = String::from_utf8_lossy(body).chars().take(120).collect();
        // Of a request that it will not take the server says so rightly.
        let why = RefusedAnswer::new(code, format!("HTTP {http_status}: {said}"));
        return refused(About::default(), why, code == Code::Rejected);
    }
    let parsed: Value = match serde_json::from_slice(body) {
        Ok(parsed) => parsed,
        Err(error) => {
            return refused(
                About::default(),
                RefusedAnswer::new(Code::Shape, format!("no JSON: {error}")),
                false,
            );
        }
    };
    let about = about(&parsed);
    match content(&parsed) {
        Err(why) => {
            let provider_worked = why.code != Code::Shape;
            refused(about, why, provider_worked)
        }
        Ok(text) => Reply {
            about,
            answer: parse(mode, text, snap),
            provider_worked: true,
        },
    }
}

/// Says otherwise than what was made of a reply when it came, if reading it again does.
pub fn otherwise(outcome: &str, detail: &str, reply: &Reply, http_status: u16) -> Option<String> {
    // Whatever a late one says: it came too late. And whether a status meant that the format is not
    // known was decided by what was known of the server.
    let by_the_moment = outcome == Code::Late.as_str()
        || !(200..300).contains(&http_status) && outcome == Code::HttpStatus.as_str()
        // It was not whole.
        || outcome == Code::TooLong.as_str() && detail.starts_with("more than")
        || [Code::Timeout, Code::Unsent, Code::Unreachable].iter().any(|code| code.as_str() == outcome);
    let (code, why) = match &reply.answer {
        Ok(_) => (Code::Accepted, ""),
        Err(refused) => (refused.code, refused.detail.as_str()),
    };
    let same =
        by_the_moment || code.as_str() == outcome && (why == detail || code == Code::Accepted);
    (!same).then(|| format!("kept as {outcome} {detail}, and read again it is {code} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Reading the same reply again agrees with what was stored; another outcome or detail is
    /// reported as a difference.
    #[test]
    fn reread_reply_matches_its_stored_outcome() {
        let body = |content: &str| {
            json!({"choices": [{"finish_reason": "stop", "message": {"content": content}}]})
                .to_string()
        };
        let reads = |status, body: &str| read(status, body.as_bytes(), AnswerMode::Single, "s");
        let prose = reads(200, &body("Let me think."));
        let refused = prose.answer.as_ref().unwrap_err().clone();
        assert_eq!(refused.code, Code::Syntax);
        assert_eq!(otherwise("syntax", &refused.detail, &prose, 200), None);
        for (outcome, detail) in [
            ("accepted", ""),
            ("empty", &*refused.detail),
            ("syntax", "something else"),
        ] {
            assert!(
                otherwise(outcome, detail, &prose, 200).is_some(),
                "{outcome}"
            );
        }
        assert_eq!(otherwise("late", "came after 61s", &prose, 200), None);
        let ill = reads(503, "no");
        assert_eq!(
            otherwise(
                "http_status",
                "perhaps it does not know json_schema",
                &ill,
                503
            ),
            None
        );
        assert!(otherwise("rejected", "HTTP 503: no", &ill, 503).is_some());
        assert_eq!(
            (ill.provider_worked, reads(400, "no").provider_worked),
            (false, true)
        );
    }
}
