//! Listings in byte order of the keys, without reading folders that cannot hold a match.

use std::fs;
use std::io;
use std::path::Path;

use crate::port::object_store::{KEY_BYTES_MAX, Listed, PAGE_OBJECTS_MAX, Page, StoreError};

use super::path::TEMPORARY;
use super::{failed, info};

/// One page of the objects below `root`.
pub(super) fn page(root: &Path, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
    let limit = limit.clamp(1, PAGE_OBJECTS_MAX);
    let mut query = Query { prefix, after, limit, found: Vec::new() };
    query.walk(root, "").map_err(|error| failed(prefix, &error))?;
    let mut objects = query.found;
    let more = objects.len() > limit;
    objects.truncate(limit);
    let next = if more { objects.last().map(|last| last.key.clone()) } else { None };
    Ok(Page { objects, next })
}

struct Query<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
    /// One more than `limit` at most: its presence says that there is a next page.
    found: Vec<Listed>,
}

impl Query<'_> {
    /// Adds the matches of a folder whose keys start with `base`.
    fn walk(&mut self, folder: &Path, base: &str) -> io::Result<()> {
        for name in names(folder)? {
            if self.found.len() > self.limit {
                break;
            }
            let key = format!("{base}{name}");
            if key.len() > KEY_BYTES_MAX || key.split('/').next() == Some(TEMPORARY) {
                continue;
            }
            let path = folder.join(name.trim_end_matches('/'));
            if key.ends_with('/') {
                if self.may_hold(&key) {
                    self.walk(&path, &key)?;
                }
            } else if key.starts_with(self.prefix) && self.after.is_none_or(|after| key.as_str() > after) {
                match path.symlink_metadata() {
                    Ok(metadata) => self.found.push(Listed { key, info: info(&metadata) }),
                    // Deleted while the folder was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn may_hold(&self, folder_key: &str) -> bool {
        let in_prefix = folder_key.starts_with(self.prefix) || self.prefix.starts_with(folder_key);
        in_prefix && self.after.is_none_or(|after| folder_key > after || after.starts_with(folder_key))
    }
}

/// Names in a folder, those of folders with a `/` behind, in the order of the keys that they lead to. Symbolic links and
/// names that are not UTF-8 are no objects.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if let Ok(mut name) = entry.file_name().into_string() {
            if kind.is_dir() {
                name.push('/');
            } else if !kind.is_file() {
                continue;
            }
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
