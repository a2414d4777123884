//! The modules of a crate, from its root files down, and the paths that each module uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::platform::Platform;

/// A module: a file, or an inline `mod x { … }`.
pub(super) struct Module {
    pub(super) file: PathBuf,
    /// The module that declares this one; the root has none.
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    /// The segments of each path in it, with the line.
    pub(super) paths: Vec<(Vec<String>, usize)>,
}

/// The modules below one root file, such as `src/lib.rs`, that are compiled for one platform.
pub(super) struct ModuleTree {
    /// The root is the first.
    pub(super) modules: Vec<Module>,
    platform: Platform,
}

impl ModuleTree {
    pub(super) fn read(root: &Path, platform: Platform) -> anyhow::Result<Self> {
        let mut tree = Self {
            modules: Vec::new(),
            platform,
        };
        let folder = root.parent().unwrap_or(root).to_owned();
        tree.add_file(root, None, &folder)?;
        Ok(tree)
    }

    /// Reads the module's file, and the files of the modules that it declares without a path below `folder`.
    fn add_file(
        &mut self,
        file: &Path,
        parent: Option<usize>,
        folder: &Path,
    ) -> anyhow::Result<usize> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let syntax =
            syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        let module = self.add_module(file, parent);
        let mut visitor = Visitor {
            tree: self,
            module,
            folder: folder.to_owned(),
            failure: None,
        };
        visitor.visit_file(&syntax);
        match visitor.failure {
            Some(failure) => Err(failure),
            None => Ok(module),
        }
    }

    fn add_module(&mut self, file: &Path, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            paths: Vec::new(),
        });
        self.modules.len() - 1
    }
}

struct Visitor<'a> {
    tree: &'a mut ModuleTree,
    module: usize,
    /// Where files of modules are that are declared without a path.
    folder: PathBuf,
    failure: Option<anyhow::Error>,
}

impl Visitor<'_> {
    fn path(&mut self, segments: Vec<String>, line: usize) {
        self.tree.modules[self.module].paths.push((segments, line));
    }

    fn use_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| {
            let mut segments = before.to_vec();
            segments.push(ident.to_string());
            segments
        };
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" && !before.is_empty() => {
                self.path(before.to_vec(), name.span().start().line);
            }
            syn::UseTree::Name(name) => self.path(with(&name.ident), name.span().start().line),
            syn::UseTree::Rename(rename) => {
                self.path(with(&rename.ident), rename.span().start().line);
            }
            syn::UseTree::Glob(glob) => self.path(before.to_vec(), glob.span().start().line),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, before);
                }
            }
        }
    }

    /// The paths in a macro's arguments, which syn does not parse.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let mut line = 0;
        // Colons since the last segment: two join the next one to it.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.finish(&mut segments, line);
                        line = ident.span().start().line;
                    }
                    segments.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += if punct.spacing() == Spacing::Joint || colons == 1 {
                        1
                    } else {
                        3
                    };
                }
                TokenTree::Group(group) => {
                    self.finish(&mut segments, line);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.finish(&mut segments, line);
                    colons = 0;
                }
            }
        }
        self.finish(&mut segments, line);
    }

    fn finish(&mut self, segments: &mut Vec<String>, line: usize) {
        let segments = std::mem::take(segments);
        if segments.len() > 1 {
            self.path(segments, line);
        }
    }

    /// The file of a module without a body, and the folder for the modules that it declares.
    fn file(&self, item: &syn::ItemMod) -> (PathBuf, PathBuf) {
        if let Some(path) = self.tree.platform.path(&item.attrs) {
            let here = self.tree.modules[self.module].file.parent();
            let file = here.unwrap_or(Path::new("")).join(path);
            let folder = file.parent().map(Path::to_owned).unwrap_or_default();
            return (file, folder);
        }
        let name = item.ident.to_string();
        let name = name.trim_start_matches("r#");
        let file = self.folder.join(format!("{name}.rs"));
        let inside = self.folder.join(name);
        if file.is_file() {
            (file, inside)
        } else {
            (inside.join("mod.rs"), inside)
        }
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if self.tree.platform.compiles(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        if let Some((_, items)) = &item.content {
            let file = self.tree.modules[self.module].file.clone();
            let child = self.tree.add_module(&file, Some(self.module));
            self.tree.modules[self.module]
                .children
                .insert(name.clone(), child);
            let outside = (self.module, self.folder.clone());
            self.module = child;
            self.folder.push(name);
            for item in items {
                self.visit_item(item);
            }
            (self.module, self.folder) = outside;
            return;
        }
        let (file, folder) = self.file(item);
        match self.tree.add_file(&file, Some(self.module), &folder) {
            Ok(child) => {
                self.tree.modules[self.module].children.insert(name, child);
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1 && path.leading_colon.is_none() {
            self.path(segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    /// `pub(super)` and `pub(in crate::x)` import nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}
