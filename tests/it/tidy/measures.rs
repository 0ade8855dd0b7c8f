//! How large and how plain the code is, as a table: `cargo test --test it measures -- --nocapture`.

use super::source::{circles, defined_twice, doc_openers, sources, test_names};

/// Value at a share of a sorted list.
fn at(sorted: &[usize], percent: usize) -> usize {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[test]
fn measures() {
    let all = sources();
    let mut files: Vec<usize> = all
        .iter()
        .map(|source| source.text.lines().count())
        .collect();
    files.sort_unstable();
    let mut functions: Vec<_> = all
        .iter()
        .filter(|s| !s.is_test)
        .flat_map(|source| source.functions())
        .collect();
    functions.sort_by_key(|function| function.lines);
    let lengths: Vec<usize> = functions.iter().map(|function| function.lines).collect();
    let last = |sorted: &[usize]| at(sorted, 100);
    println!(
        "files {}: p50 {}, p90 {}, max {}",
        files.len(),
        at(&files, 50),
        at(&files, 90),
        last(&files)
    );
    let (p50, p90, p99) = (at(&lengths, 50), at(&lengths, 90), at(&lengths, 99));
    println!(
        "functions {}: p50 {p50}, p90 {p90}, p99 {p99}, max {}",
        lengths.len(),
        last(&lengths)
    );
    let long: Vec<_> = functions
        .iter()
        .filter(|function| function.lines > 70)
        .collect();
    println!("functions over 70 lines: {}", long.len());
    for function in &long {
        println!("    {} {} {}", function.lines, function.file, function.name);
    }
    let twice = defined_twice(&all);
    println!("type names defined twice: {}", twice.len());
    for (name, files) in &twice {
        println!("    {name}: {}", files.join(", "));
    }
    let docs = doc_openers();
    let riddles = docs.iter().filter(|(_, line)| {
        let word = line
            .split(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap_or("");
        ["What", "It", "Where", "Who"].contains(&word)
    });
    let riddles: Vec<_> = riddles.collect();
    println!(
        "doc comments {}, opening with What, It, Where or Who: {} ({:.1} %)",
        docs.len(),
        riddles.len(),
        100.0 * riddles.len() as f64 / docs.len() as f64
    );
    let names: Vec<(String, String)> = ["src", "tests"].into_iter().flat_map(test_names).collect();
    let words = |name: &str| name.split('_').filter(|word| !word.is_empty()).count();
    let mut sizes: Vec<usize> = names.iter().map(|(_, name)| words(name)).collect();
    sizes.sort_unstable();
    println!(
        "words per test name ({} tests): p50 {}, p90 {}, max {}",
        sizes.len(),
        at(&sizes, 50),
        at(&sizes, 90),
        last(&sizes)
    );
    let strings: usize = all
        .iter()
        .map(|s| {
            let tokens = s
                .tokens
                .windows(2)
                .filter(|w| w[0] == "String" && w[1] == ">");
            tokens.count()
        })
        .sum();
    let errors: usize = all
        .iter()
        .filter(|s| !s.is_test)
        .map(|s| string_errors(&s.tokens))
        .sum();
    println!("Result<_, String>: {errors} (of {strings} closing Strings)");
    let circles = circles(&all);
    println!("circles of imports: {}", circles.len());
    for circle in &circles {
        println!("    {}", circle.join(" "));
    }
}

/// Counts `Result<…, String>` in a list of tokens.
fn string_errors(tokens: &[String]) -> usize {
    let mut count = 0;
    for (at, _) in tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| *token == "Result")
    {
        let (mut depth, mut i) = (0_i32, at + 1);
        if tokens.get(i).is_none_or(|token| token != "<") {
            continue;
        }
        while i < tokens.len() {
            match tokens[i].as_str() {
                "<" => depth += 1,
                ">" if tokens[i - 1] != "-" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            i += 1;
        }
        let ends = i >= 2 && tokens[i - 1] == "String" && tokens[i - 2] == ",";
        count += usize::from(ends && i < tokens.len());
    }
    count
}
