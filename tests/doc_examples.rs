//! Every public item has an example in its documentation that runs as a doctest.
//!
//! Asked of what users can name: structs, enums, unions, traits, functions, constants, statics, type aliases, exported macros and
//! derives, where their module is public or they are re-exported, and the public functions in their inherent impls. Not asked of:
//! - modules and re-exports, which have only what is in them;
//! - fields, variants, and what a trait declares: the example of the type or trait shows them;
//! - what is `#[doc(hidden)]`, or only there in tests;
//! - items whose name is an argument of a macro: they have no documentation of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::{Attribute, ImplItem, Item, Meta, Type, UseTree, Visibility};

/// The libraries of the workspace that users depend on.
const LIBRARIES: [&str; 7] = [
    "",
    "watermill-core",
    "watermill-derive",
    "streams",
    "brokers/json-file",
    "brokers/kafka",
    "brokers/mongodb",
];

#[test]
fn every_public_item_has_an_example() {
    let mut missing = Vec::new();
    let mut shown = 0;
    for library in LIBRARIES {
        let mut names = Names::default();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(library).join("src/lib.rs");
        let module = Module::read(root, &[]);
        names.visit(&module, &module);
        let mut check = Check { library, names: &names, missing: &mut missing, shown: 0 };
        check.module(&module);
        shown += check.shown;
    }
    let list = missing.join("\n");
    assert!(missing.is_empty(), "{} public items have no example that runs:\n{list}", missing.len());
    // A mistake in here would find nothing, and so nothing missing.
    assert!(shown > 150, "only {shown} public items were found");
}

/// A module with those below it.
struct Module {
    file: PathBuf,
    path: Vec<String>,
    items: Vec<Item>,
    below: Vec<Module>,
}

impl Module {
    fn read(file: PathBuf, path: &[String]) -> Self {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let inside = match file.file_name().and_then(|name| name.to_str()) {
            Some("lib.rs" | "mod.rs") => file.parent().unwrap().to_owned(),
            _ => file.with_extension(""),
        };
        Self::of(file, &inside, path, parsed.items)
    }

    fn of(file: PathBuf, inside: &Path, path: &[String], items: Vec<Item>) -> Self {
        let items: Vec<Item> = items.into_iter().filter(|item| !left_out(attributes(item))).collect();
        let mut below = Vec::new();
        for item in &items {
            let Item::Mod(module) = item else { continue };
            let name = module.ident.to_string();
            let path = [path, std::slice::from_ref(&name)].concat();
            below.push(match &module.content {
                Some((_, items)) => Self::of(file.clone(), &inside.join(&name), &path, items.clone()),
                None => {
                    let beside = inside.join(format!("{name}.rs"));
                    let file = if beside.exists() { beside } else { inside.join(&name).join("mod.rs") };
                    Self::read(file, &path)
                }
            });
        }
        Self { file, path: path.to_vec(), items, below }
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.below.iter().find(|module| module.path.last().is_some_and(|last| last == name))
    }

    fn at(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |module, name| module.child(name))
    }
}

/// What users can name: the path of the module that defines it, and its name.
#[derive(Default)]
struct Names {
    defined: BTreeSet<(Vec<String>, String)>,
    visited: BTreeSet<Vec<String>>,
}

impl Names {
    /// All that `module` shows, which is public or re-exported whole.
    fn visit(&mut self, root: &Module, module: &Module) {
        if !self.visited.insert(module.path.clone()) {
            return;
        }
        for item in &module.items {
            match item {
                Item::Mod(below) if is_public(&below.vis) => {
                    let below = module.child(&below.ident.to_string()).expect("every module was read");
                    self.visit(root, below);
                }
                Item::Use(used) if is_public(&used.vis) => {
                    for path in leaves(&used.tree, &[]) {
                        self.follow(root, module, &path);
                    }
                }
                _ => {
                    if let Some((vis, name)) = named(item)
                        && is_public(vis)
                    {
                        self.defined.insert((module.path.clone(), name));
                    }
                }
            }
        }
    }

    /// What the path of a `use` in `module` leads to, `*` being all of a module. Other crates are not followed: they are read themselves.
    fn follow(&mut self, root: &Module, module: &Module, path: &[String]) {
        let mut full = module.path.clone();
        for (index, step) in path.iter().enumerate() {
            match step.as_str() {
                "crate" => full.clear(),
                "self" => {}
                "super" => drop(full.pop()),
                _ if index == 0 && module.child(step).is_none() && path.len() > 1 => return,
                _ => full.push(step.clone()),
            }
        }
        if let Some(whole) = root.at(&full) {
            return self.visit(root, whole);
        }
        let Some(name) = full.pop() else { return };
        let Some(target) = root.at(&full) else { return };
        if name == "*" {
            return self.visit(root, target);
        }
        if target.items.iter().filter_map(named).any(|(_, defined)| defined == name) {
            self.defined.insert((full, name));
            return;
        }
        // Re-exported there in turn.
        for item in &target.items {
            let Item::Use(used) = item else { continue };
            for path in leaves(&used.tree, &[]) {
                if path.last() == Some(&name) && target.path != module.path {
                    self.follow(root, target, &path);
                }
            }
        }
    }

    fn has_type(&self, name: &str) -> bool {
        self.defined.iter().any(|(_, defined)| defined == name)
    }
}

/// The paths that a `use` names.
fn leaves(tree: &UseTree, above: &[String]) -> Vec<Vec<String>> {
    let with = |name: String| [above, &[name]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(path.ident.to_string())),
        UseTree::Name(name) => vec![with(name.ident.to_string())],
        UseTree::Rename(name) => vec![with(name.ident.to_string())],
        UseTree::Glob(_) => vec![with("*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(tree, above)).collect(),
    }
}

/// Looks at what is defined for examples.
struct Check<'a> {
    library: &'a str,
    names: &'a Names,
    missing: &'a mut Vec<String>,
    shown: usize,
}

impl Check<'_> {
    fn module(&mut self, module: &Module) {
        for item in &module.items {
            match item {
                Item::Impl(item) if item.trait_.is_none() => {
                    let Type::Path(path) = &*item.self_ty else { continue };
                    let of = path.path.segments.last().unwrap().ident.to_string();
                    if !self.names.has_type(&of) {
                        continue;
                    }
                    for part in &item.items {
                        let ImplItem::Fn(function) = part else { continue };
                        if is_public(&function.vis) && !left_out(&function.attrs) {
                            let name = &function.sig.ident;
                            let shown = runs(&documentation(&function.attrs));
                            self.note(module, name.span(), &format!("{of}::{name}"), shown);
                        }
                    }
                }
                Item::Macro(item) => self.tokens(module, item.mac.tokens.clone()),
                _ => {
                    let Some((_, name)) = named(item) else { continue };
                    if self.names.defined.contains(&(module.path.clone(), name.clone())) {
                        self.note(module, span(item), &name, runs(&documentation(attributes(item))));
                    }
                }
            }
        }
        for below in &module.below {
            self.module(below);
        }
    }

    /// The public functions that stand in a macro by their own names.
    fn tokens(&mut self, module: &Module, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let word = |index: usize| match tokens.get(index) {
            Some(TokenTree::Ident(ident)) => ident.to_string(),
            _ => String::new(),
        };
        let mut text = String::new();
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                    if let Ok(Meta::NameValue(meta)) = syn::parse2::<Meta>(group.stream()) {
                        text.push_str(&doc_line(&meta));
                    }
                }
                TokenTree::Group(group) => {
                    self.tokens(module, group.stream());
                    text.clear();
                }
                TokenTree::Ident(ident) if ident == "pub" => {
                    let function = if word(index + 1) == "const" { index + 2 } else { index + 1 };
                    let name = word(function + 1);
                    if word(function) == "fn" && !name.is_empty() {
                        self.note(module, ident.span(), &name, runs(&text));
                    }
                    text.clear();
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, module: &Module, span: Span, name: &str, shown: bool) {
        if shown {
            self.shown += 1;
            return;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = module.file.strip_prefix(root).unwrap_or(&module.file);
        let path = [&[crate_of(self.library)], module.path.as_slice()].concat().join("::");
        self.missing.push(format!("{}:{} {path}::{name}", file.display(), span.start().line));
    }
}

fn crate_of(library: &str) -> String {
    let name = library.rsplit('/').next().unwrap();
    if name.is_empty() { "watermill".to_owned() } else { name.replace('-', "_") }
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

/// What an item is called, and who sees it; `None` for items of which no example is asked.
fn named(item: &Item) -> Option<(&Visibility, String)> {
    let (vis, ident) = match item {
        Item::Const(item) => (&item.vis, &item.ident),
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Fn(item) => (&item.vis, &item.sig.ident),
        Item::Static(item) => (&item.vis, &item.ident),
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        Item::Type(item) => (&item.vis, &item.ident),
        Item::Union(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    Some((vis, ident.to_string()))
}

fn span(item: &Item) -> Span {
    match item {
        Item::Const(item) => item.ident.span(),
        Item::Enum(item) => item.ident.span(),
        Item::Fn(item) => item.sig.ident.span(),
        Item::Static(item) => item.ident.span(),
        Item::Struct(item) => item.ident.span(),
        Item::Trait(item) => item.ident.span(),
        Item::Type(item) => item.ident.span(),
        Item::Union(item) => item.ident.span(),
        _ => Span::call_site(),
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is hidden, or there in tests only.
fn left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let inside = list.tokens.to_string();
        (list.path.is_ident("doc") && inside == "hidden")
            || (list.path.is_ident("cfg") && (inside == "test" || inside == "doctest"))
    })
}

fn documentation(attributes: &[Attribute]) -> String {
    attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(meta) => Some(doc_line(meta)),
            _ => None,
        })
        .collect()
}

fn doc_line(meta: &syn::MetaNameValue) -> String {
    match &meta.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) if meta.path.is_ident("doc") => {
            format!("{}\n", text.value())
        }
        _ => String::new(),
    }
}

/// Whether a code block of `documentation` is run.
fn runs(documentation: &str) -> bool {
    let fences = documentation.lines().filter_map(|line| line.trim_start().strip_prefix("```"));
    // Every second fence closes a block.
    fences.step_by(2).any(|kind| matches!(kind.trim(), "" | "rust" | "should_panic"))
}
