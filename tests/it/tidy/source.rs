//! The source files of the program, parsed: imports of every form, functions with their length,
//! types, doc comments and test names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// One file under `src/`, without its tests.
pub struct Source {
    /// Path below `src/`, with `/`.
    pub path: String,
    /// Path of its module: `["risk", "actor", "guard"]`.
    pub module: Vec<String>,
    /// Text as it stands, tests included.
    pub text: String,
    /// Items without those under `#[cfg(test)]`.
    pub ast: syn::File,
    /// Identifiers and punctuation of `ast`, in order, those inside macros too.
    pub tokens: Vec<String>,
    /// Items under `#[cfg(test)]` are all there is: the module itself is declared so.
    pub is_test: bool,
}

/// One function with a body.
pub struct Function {
    pub file: String,
    pub name: String,
    pub lines: usize,
}

impl Source {
    /// Name of the top module.
    pub fn stage(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Absolute paths inside the crate that this file names, in `use` items of every form and in
    /// expressions, types and macros: `["domain", "Ms"]`.
    pub fn named(&self) -> BTreeSet<Vec<String>> {
        let mut found = Uses {
            module: &self.module,
            paths: BTreeSet::new(),
        };
        found.visit_file(&self.ast);
        let mut paths = found.paths;
        for (at, window) in self.tokens.windows(4).enumerate() {
            let [root, a, b, first] = window else {
                continue;
            };
            let starts = at == 0 || self.tokens[at - 1] != ":";
            if root == "crate" && a == ":" && b == ":" && starts && is_word(first) {
                let rest = self.tokens[at + 4..].chunks(3);
                let rest = rest.map_while(|next| match next {
                    [a, b, word] if a == ":" && b == ":" && is_word(word) => Some(word.clone()),
                    _ => None,
                });
                paths.insert([first.clone()].into_iter().chain(rest).collect());
            }
        }
        paths
    }

    /// True if the path stands in the code: `["std", "fs"]`, `["tokio"]`. A one-word path is an
    /// identifier anywhere.
    pub fn uses(&self, path: &[&str]) -> bool {
        let wanted: Vec<&str> = path
            .iter()
            .flat_map(|word| [":", ":", word])
            .skip(2)
            .collect();
        let hit = |window: &[String]| window.iter().zip(&wanted).all(|(a, b)| a == b);
        self.tokens.windows(wanted.len()).any(hit)
            || (path.len() > 1
                && self
                    .outside()
                    .contains(&path.iter().map(|&w| w.to_owned()).collect::<Vec<_>>()))
    }

    /// Prefixes of the paths outside the crate that `use` items name.
    fn outside(&self) -> BTreeSet<Vec<String>> {
        let mut all = BTreeSet::new();
        for item in &self.ast.items {
            if let Item::Use(item) = item {
                let mut leaves = Vec::new();
                flatten(&item.tree, &mut Vec::new(), &mut leaves);
                for leaf in leaves {
                    all.extend((1..=leaf.len()).map(|len| leaf[..len].to_vec()));
                }
            }
        }
        all
    }

    pub fn functions(&self) -> Vec<Function> {
        let mut found = Functions {
            file: &self.path,
            all: Vec::new(),
        };
        found.visit_file(&self.ast);
        found.all
    }

    /// Names of the types that it defines (not aliases).
    pub fn types(&self) -> Vec<String> {
        let mut found = Types::default();
        found.visit_file(&self.ast);
        found.0
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Paths named in `use` items and as `super::…` or `self::…` in code, made absolute.
struct Uses<'a> {
    module: &'a [String],
    paths: BTreeSet<Vec<String>>,
}

impl Uses<'_> {
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.module.to_vec(),
            _ => return None,
        };
        for word in path {
            match word.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                word => base.push(word.to_owned()),
            }
        }
        Some(base)
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        let absolute: Vec<_> = leaves
            .iter()
            .filter_map(|leaf| self.absolute(leaf))
            .collect();
        self.paths.extend(absolute);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if words.len() > 1 {
            self.paths.extend(self.absolute(&words));
        }
        visit::visit_path(self, path);
    }
}

fn flatten(tree: &UseTree, so_far: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            so_far.push(path.ident.to_string());
            flatten(&path.tree, so_far, out);
            so_far.pop();
        }
        UseTree::Group(group) => group
            .items
            .iter()
            .for_each(|tree| flatten(tree, so_far, out)),
        UseTree::Name(name) if name.ident == "self" => out.push(so_far.clone()),
        UseTree::Name(name) => out.push([so_far.as_slice(), &[name.ident.to_string()]].concat()),
        UseTree::Rename(name) => out.push([so_far.as_slice(), &[name.ident.to_string()]].concat()),
        UseTree::Glob(_) => out.push(so_far.clone()),
    }
}

struct Functions<'a> {
    file: &'a str,
    all: Vec<Function>,
}

impl Functions<'_> {
    fn add(&mut self, sig: &syn::Signature, end: usize) {
        let lines = end + 1 - sig.span().start().line;
        self.all.push(Function {
            file: self.file.to_owned(),
            name: sig.ident.to_string(),
            lines,
        });
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, item.block.span().end().line);
        visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, item.block.span().end().line);
        visit::visit_impl_item_fn(self, item);
    }
    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block.span().end().line);
        }
    }
}

#[derive(Default)]
struct Types(Vec<String>);

impl<'ast> Visit<'ast> for Types {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.0.push(item.ident.to_string());
    }
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.0.push(item.ident.to_string());
    }
    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.0.push(item.ident.to_string());
    }
}

/// Rust files under a directory of this repository: path in it, text.
pub fn files(under: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(under);
    let mut out = Vec::new();
    walk(&root, &mut out);
    out.sort();
    out.into_iter()
        .map(|(path, text)| (path.strip_prefix(&root).unwrap().to_owned(), text))
        .collect()
}

/// All files of the program, sorted by path; test modules are marked.
pub fn sources() -> Vec<Source> {
    let mut all: Vec<Source> = files("src")
        .into_iter()
        .map(|(path, text)| read(&path, text))
        .collect();
    let mut tests: BTreeSet<Vec<String>> = BTreeSet::new();
    for (path, text) in files("src") {
        let module = module_of(&path);
        for item in syn::parse_file(&text).unwrap().items {
            if let Item::Mod(item) = item
                && is_cfg_test(&item.attrs)
            {
                tests.insert([module.as_slice(), &[item.ident.to_string()]].concat());
            }
        }
    }
    for source in &mut all {
        source.is_test = (1..=source.module.len()).any(|len| tests.contains(&source.module[..len]));
    }
    all
}

fn read(path: &Path, text: String) -> Source {
    let mut ast = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    without_tests(&mut ast.items);
    let mut tokens = Vec::new();
    flat(ast.to_token_stream(), &mut tokens);
    let path_shown = path
        .components()
        .map(|c| c.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/");
    Source {
        path: path_shown,
        module: module_of(path),
        text,
        ast,
        tokens,
        is_test: false,
    }
}

fn module_of(path: &Path) -> Vec<String> {
    let mut words: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|w| w.to_string_lossy().into_owned())
        .collect();
    if words
        .last()
        .is_some_and(|last| matches!(last.as_str(), "mod" | "lib"))
    {
        words.pop();
    }
    words
}

fn is_cfg_test(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("cfg")
            && attr
                .meta
                .require_list()
                .is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

fn without_tests(items: &mut Vec<Item>) {
    items.retain(|item| {
        let attrs = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            _ => return true,
        };
        !is_cfg_test(attrs)
    });
    for item in items {
        match item {
            Item::Mod(item) => {
                if let Some((_, items)) = &mut item.content {
                    without_tests(items);
                }
            }
            Item::Impl(item) => item.items.retain(|item| match item {
                syn::ImplItem::Fn(item) => !is_cfg_test(&item.attrs),
                _ => true,
            }),
            _ => {}
        }
    }
}

/// Identifiers and punctuation; doc comments and literals are left out.
fn flat(stream: TokenStream, out: &mut Vec<String>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                let attribute = group.delimiter() == proc_macro2::Delimiter::Bracket
                    && out.last().is_some_and(|last| last == "#");
                if !attribute || !group.stream().to_string().starts_with("doc") {
                    out.push("(".to_owned());
                    flat(group.stream(), out);
                    out.push(")".to_owned());
                }
            }
            TokenTree::Ident(ident) => out.push(ident.to_string()),
            TokenTree::Punct(punct) => out.push(punct.as_char().to_string()),
            TokenTree::Literal(_) => out.push("0".to_owned()),
        }
    }
}

/// Test functions under a directory: file, name.
pub fn test_names(under: &str) -> Vec<(String, String)> {
    struct Tests(Vec<String>);
    impl<'ast> Visit<'ast> for Tests {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            if item
                .attrs
                .iter()
                .any(|a| a.path().segments.last().is_some_and(|s| s.ident == "test"))
            {
                self.0.push(item.sig.ident.to_string());
            }
        }
        fn visit_macro(&mut self, item: &'ast syn::Macro) {
            let words: Vec<String> = {
                let mut out = Vec::new();
                flat(item.tokens.clone(), &mut out);
                out
            };
            for (at, _) in words.iter().enumerate().filter(|(_, w)| *w == "test") {
                if let Some(next) = words[at..].iter().position(|w| w == "fn") {
                    self.0.push(words[at + next + 1].clone());
                }
            }
        }
    }
    let mut all = Vec::new();
    for (path, text) in files(under) {
        let mut found = Tests(Vec::new());
        found.visit_file(&syn::parse_file(&text).unwrap());
        let file = format!("{under}/{}", path.display());
        all.extend(found.0.into_iter().map(|name| (file.clone(), name)));
    }
    all
}

/// First lines of all doc comments under `src/`, with their file.
pub fn doc_openers() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (path, text) in files("src") {
        let mut inside = "";
        for line in text.lines().map(str::trim_start) {
            let mark = ["///", "//!"]
                .into_iter()
                .find(|mark| line.starts_with(mark))
                .unwrap_or("");
            if !mark.is_empty() && mark != inside {
                all.push((path.display().to_string(), line[3..].trim().to_owned()));
            }
            inside = mark;
        }
    }
    all
}

/// Names that more than one file defines: name, files.
pub fn defined_twice(sources: &[Source]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test) {
        for name in source.types() {
            all.entry(name).or_default().push(source.path.clone());
        }
    }
    all.retain(|_, files| files.len() > 1);
    all
}

/// Groups of modules inside one stage that name each other in a circle; `mod.rs` is left out, which
/// gathers what its children export.
pub fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    let part = |module: &[String]| module.get(..2).map(<[String]>::to_vec);
    let known: BTreeSet<Vec<String>> = sources.iter().filter_map(|s| part(&s.module)).collect();
    for source in sources.iter().filter(|s| !s.is_test) {
        let Some(own) = part(&source.module) else {
            continue;
        };
        for named in source.named() {
            let other = part(&named).filter(|other| known.contains(other) && *other != own);
            edges.entry(own.clone()).or_default().extend(other);
        }
    }
    let reach = |from: &Vec<String>| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from.clone()];
        while let Some(at) = next.pop() {
            for to in edges.get(&at).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = edges.keys().map(|at| (at.clone(), reach(at))).collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (at, all) in &reached {
        let group: Vec<String> = all
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(at)))
            .map(|other| other.join("::"))
            .collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    groups.into_iter().collect()
}
