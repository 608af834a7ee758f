//! Files that import each other in a circle can only be understood together. Two may: a type and its other half.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::{WrittenPath, module_of, paths_in, resolve};
use crate::source::{File, Tree};
use crate::{Complaints, SOURCES};

/// Most files of a circle.
const MAX_FILES: usize = 2;
/// Most re-exports that lead from a path to its definition.
const MAX_HOPS: usize = 4;

/// A file with the paths that are written in it.
struct Source<'a> {
    file: &'a File,
    paths: Vec<WrittenPath>,
}

/// Files that a file imports from, by path.
type Imports<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Finds circles of more than [`MAX_FILES`] files. Test code does not count, nor does a `pub use` of a name that the
/// file does not use itself: whoever imports that name depends on the file that defines it.
pub(crate) fn no_large_circles(tree: &Tree) -> Complaints {
    let imports = imports(tree);
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|file| (*file, reachable(&imports, file))).collect();
    let mut complaints = BTreeSet::new();
    for (file, targets) in &reached {
        let is_mutual = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(file));
        let circle: Vec<&str> = targets.iter().filter(is_mutual).copied().collect();
        if circle.len() > MAX_FILES {
            complaints.insert(format!(
                "{}:1: a circle of {} files: {}",
                circle[0],
                circle.len(),
                circle.join(", ")
            ));
        }
    }
    complaints.into_iter().collect()
}

/// Returns the files that can be reached from `start` by imports, `start` itself if it is in a circle.
fn reachable<'a>(imports: &Imports<'a>, start: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(file) = open.pop() {
        open.extend(imports.get(file).into_iter().flatten().filter(|next| reached.insert(**next)));
    }
    reached
}

fn imports(tree: &Tree) -> Imports<'_> {
    let sources = tree.rust_files(SOURCES);
    let modules: BTreeMap<Vec<String>, Source<'_>> =
        sources.map(|file| (module_of(&file.path), Source { file, paths: paths_in(&file.tokens) })).collect();
    let mut imports = Imports::new();
    for Source { file, paths } in modules.values() {
        let targets = imports.entry(&file.path).or_default();
        for path in paths.iter().filter(|path| !path.in_test && !path.is_visibility) {
            let name = path.segments.last().map_or("", String::as_str);
            if path.is_reexport && count(file, name) < 2 {
                continue;
            }
            let target = resolve(&file.path, path).and_then(|path| definition(&modules, path));
            targets.extend(target.map(|target| target.path.as_str()).filter(|target| *target != file.path));
        }
    }
    imports
}

/// Counts the places outside of tests where a file has this name.
fn count(file: &File, name: &str) -> usize {
    file.tokens.iter().filter(|token| !token.in_test && token.text == name).count()
}

/// Returns the file that defines what an absolute path names, behind re-exports.
fn definition<'a>(modules: &BTreeMap<Vec<String>, Source<'a>>, mut path: Vec<String>) -> Option<&'a File> {
    let mut found = None;
    for _ in 0..MAX_HOPS {
        let (depth, source) =
            (1..=path.len()).rev().find_map(|depth| Some((depth, modules.get(&path[..depth])?)))?;
        let Source { file, paths } = source;
        found = Some(*file);
        let Some(name) = path.get(depth) else { break };
        let exported = paths.iter().find(|export| export.is_reexport && export.segments.last() == Some(name));
        let Some(mut next) = exported.and_then(|export| resolve(&file.path, export)) else { break };
        next.extend_from_slice(&path[depth + 1..]);
        path = next;
    }
    found
}

#[test]
fn a_circle_of_three_is_found_and_one_of_two_is_not() {
    let three = [
        ("src/a/mod.rs", "pub use self::x::X;\nmod x;"),
        ("src/a/x.rs", "use crate::b::B; pub(in crate::a) struct X;"),
        ("src/b.rs", "use crate::c::C; pub struct B;"),
        ("src/c.rs", "use crate::a::X; pub struct C;"),
    ];
    let found = no_large_circles(&Tree::of(&three));
    assert_eq!(found, ["src/a/x.rs:1: a circle of 3 files: src/a/x.rs, src/b.rs, src/c.rs"]);
    let two =
        [("src/b.rs", "use crate::c::C; pub struct B;"), ("src/c.rs", "use crate::b::B; pub struct C;")];
    assert!(no_large_circles(&Tree::of(&two)).is_empty());
    let in_test = [
        three[0],
        three[1],
        three[2],
        ("src/c.rs", "pub struct C; #[cfg(test)] mod tests { use crate::a::X; }"),
    ];
    assert!(no_large_circles(&Tree::of(&in_test)).is_empty());
}
