//! The dialect of OpenAI-compatible chat endpoints: what is asked, what an answer must look like.
//! Pure.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::code::Code;
use super::format::ResponseFormat;
use super::parse::RefusedAnswer;

/// Settings of a model that are part of each request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameters {
    /// Server's name for the model.
    pub model: String,
    /// `None`: left out.
    pub temperature: Option<serde_json::Number>,
    /// Server's name for the token limit.
    pub max_tokens_key: String,
    pub max_tokens: u32,
    /// Further keys of the request, e.g. `reasoning = { effort = "low" }`.
    pub extra: Map<String, Value>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    pub role: &'static str,
    pub content: String,
}

/// The body of a request. Keys are in order, so the same question has the same bytes.
pub fn request(
    parameters: &Parameters,
    messages: &[Message],
    format: ResponseFormat,
    schema: &Value,
    name: &str,
) -> String {
    let mut body = json!({
        "model": parameters.model,
        "messages": messages,
        "stream": false,
    });
    let map = body.as_object_mut().expect("it is one");
    map.insert(
        parameters.max_tokens_key.clone(),
        parameters.max_tokens.into(),
    );
    if let Some(temperature) = &parameters.temperature {
        map.insert("temperature".into(), Value::Number(temperature.clone()));
    }
    match format {
        ResponseFormat::JsonSchema => {
            let schema = json!({ "type": "json_schema", "json_schema": { "name": name, "strict": true, "schema": schema } });
            map.insert("response_format".into(), schema);
        }
        ResponseFormat::JsonObjectSchema => {
            map.insert(
                "response_format".into(),
                json!({ "type": "json_object", "schema": schema }),
            );
        }
        ResponseFormat::JsonObject => {
            map.insert("response_format".into(), json!({ "type": "json_object" }));
        }
        ResponseFormat::None => {}
    }
    for (key, value) in &parameters.extra {
        map.insert(key.clone(), value.clone());
    }
    body.to_string()
}

/// Tokens as the server counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    pub prompt: u64,
    /// Of the prompt, served from a cache.
    pub cached: u64,
    pub completion: u64,
    /// Of the completion, spent on reasoning.
    pub reasoning: u64,
}

/// Metadata a completion gives about itself, whether or not its text is an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// The model that answered, in the server's words.
    pub model: Option<String>,
    pub fingerprint: Option<String>,
    pub finish_reason: Option<String>,
    /// `None`: the server did not count.
    pub usage: Option<Usage>,
}

/// Reads what can be read of a completion, whatever else is wrong with it.
pub fn about(body: &Value) -> About {
    let text = |value: &Value| {
        value
            .as_str()
            .map(|text| text.chars().take(120).collect::<String>())
    };
    let usage = &body["usage"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    // Half of a count is none: what it cost stays at its worst.
    let both = usage["prompt_tokens"]
        .as_u64()
        .zip(usage["completion_tokens"].as_u64());
    About {
        model: text(&body["model"]),
        fingerprint: text(&body["system_fingerprint"]),
        finish_reason: text(&body["choices"][0]["finish_reason"]),
        usage: both.map(|(prompt, completion)| Usage {
            prompt,
            cached: count(&usage["prompt_tokens_details"]["cached_tokens"]),
            completion,
            reasoning: count(&usage["completion_tokens_details"]["reasoning_tokens"]),
        }),
    }
}

/// The text of a completion that ended as it should.
///
/// # Errors
/// Of another shape, cut off, refused, empty.
pub fn content(body: &Value) -> Result<&str, RefusedAnswer> {
    let choices = body["choices"]
        .as_array()
        .filter(|choices| choices.len() == 1);
    let Some(choice) = choices.and_then(|choices| choices.first()) else {
        return Err(RefusedAnswer::new(
            Code::Shape,
            "no chat completion: choices must be one",
        ));
    };
    let message = &choice["message"];
    if !message.is_object() {
        return Err(RefusedAnswer::new(
            Code::Shape,
            "no chat completion: the choice has no message",
        ));
    }
    if let Some(refusal) = message["refusal"].as_str().filter(|text| !text.is_empty()) {
        return Err(RefusedAnswer::new(
            Code::Refusal,
            refusal.chars().take(120).collect::<String>(),
        ));
    }
    if message["tool_calls"]
        .as_array()
        .is_some_and(|calls| !calls.is_empty())
    {
        return Err(RefusedAnswer::new(Code::Unfinished, "it wants a tool"));
    }
    match choice["finish_reason"].as_str() {
        Some("stop") => {}
        Some(other) => {
            return Err(RefusedAnswer::new(
                Code::Unfinished,
                format!("finish_reason {other:.40}"),
            ));
        }
        None => return Err(RefusedAnswer::new(Code::Unfinished, "no finish_reason")),
    }
    match message["content"].as_str() {
        Some(text) if text.trim().is_empty() => {
            Err(RefusedAnswer::new(Code::Empty, "nothing in it"))
        }
        Some(text) => Ok(text),
        None if message["content"].is_null() => Err(RefusedAnswer::new(Code::Empty, "no content")),
        None => Err(RefusedAnswer::new(Code::Shape, "content is no text")),
    }
}

/// Builds the messages sent after an answer that was refused for its form: the answer, as far as it
/// is worth repeating, and the one further question.
pub fn once_more(reply: &[u8], refused: &RefusedAnswer) -> [Message; 2] {
    let body: Value = serde_json::from_slice(reply).unwrap_or_default();
    let said = body["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default()
        .chars()
        .take(4000)
        .collect();
    let question = format!(
        "Your last answer was refused: {} ({}). The data has not changed. Answer once more with one JSON object of the form asked for and nothing else.",
        refused.code, refused.detail
    );
    [
        Message {
            role: "assistant",
            content: said,
        },
        Message {
            role: "user",
            content: question,
        },
    ]
}

/// Maps an HTTP status to its meaning for the question. `None`: there is an answer to read.
pub const fn status(status: u16) -> Option<Code> {
    match status {
        200..=299 => None,
        // Too Many Requests; Payment Required: no credit.
        429 | 402 => Some(Code::RateLimited),
        408 | 409 | 425 | 500..=599 => Some(Code::HttpStatus),
        401 | 403 | 404 => Some(Code::Forbidden),
        _ => Some(Code::Rejected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &Value, expected: Result<&str, Code>) {
        assert_eq!(
            content(body).map_err(|refused| refused.code),
            expected,
            "{body}"
        );
    }

    #[test]
    fn only_a_whole_answer_is_read() {
        let choice = |finish: Value, message: Value| json!({ "choices": [{ "finish_reason": finish, "message": message }] });
        check(&choice(json!("stop"), json!({ "content": "{}" })), Ok("{}"));
        check(
            &choice(json!("length"), json!({ "content": "{}" })),
            Err(Code::Unfinished),
        );
        check(
            &choice(json!("content_filter"), json!({ "content": "" })),
            Err(Code::Unfinished),
        );
        check(
            &choice(Value::Null, json!({ "content": "{}" })),
            Err(Code::Unfinished),
        );
        check(
            &choice(json!("stop"), json!({ "content": " \n" })),
            Err(Code::Empty),
        );
        check(
            &choice(
                json!("stop"),
                json!({ "content": null, "reasoning_content": "{}" }),
            ),
            Err(Code::Empty),
        );
        check(
            &choice(json!("stop"), json!({ "content": [{ "text": "{}" }] })),
            Err(Code::Shape),
        );
        check(
            &choice(
                json!("stop"),
                json!({ "content": "x", "refusal": "I can't" }),
            ),
            Err(Code::Refusal),
        );
        check(
            &choice(json!("stop"), json!({ "content": "x", "tool_calls": [{}] })),
            Err(Code::Unfinished),
        );
        check(&json!({ "error": { "message": "no" } }), Err(Code::Shape));
        check(&json!({ "choices": [] }), Err(Code::Shape));
        check(&json!([]), Err(Code::Shape));
        check(&json!({ "choices": [{ "text": "{}" }] }), Err(Code::Shape));
    }

    /// Without a format no response_format is sent, and extra parameters are passed through.
    #[test]
    fn same_question_gives_same_bytes() {
        let parameters = Parameters {
            model: "m".into(),
            temperature: Some(0.into()),
            max_tokens_key: "max_tokens".into(),
            max_tokens: 9,
            extra: Map::from_iter([("reasoning".to_owned(), json!({ "effort": "low" }))]),
        };
        let messages = [Message {
            role: "user",
            content: "q".into(),
        }];
        let of = |format| {
            request(
                &parameters,
                &messages,
                format,
                &json!({ "type": "object" }),
                "single_v1",
            )
        };
        assert_eq!(
            of(ResponseFormat::JsonSchema),
            of(ResponseFormat::JsonSchema)
        );
        assert!(of(ResponseFormat::JsonSchema).contains(r#""strict":true"#));
        assert!(!of(ResponseFormat::None).contains("response_format"));
        assert!(of(ResponseFormat::None).contains(r#""reasoning":{"effort":"low"}"#));
    }
}
