//! File and environment merged, read key by key; what is wrong is collected.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use zeroize::Zeroizing;

use super::{
    DEFAULT_FILE,
    error::{ConfigError, Place, Problem},
    file::{self, ItemValue, Raw},
    keys,
};

type Key = (&'static str, &'static str);

/// Hands out each key once, as the type that it is asked for.
pub(super) struct Reader {
    file: Option<PathBuf>,
    base: PathBuf,
    values: BTreeMap<Key, (Place, Raw)>,
    /// Entries of `hsm.env` from the environment: they join the file's.
    env_table: Vec<(String, Place, Raw)>,
    log_filter: Option<String>,
    problems: Vec<Problem>,
}

impl Reader {
    /// Reads the file and takes our variables from `env`. What is unknown is a problem, told by [`Reader::finish`] with the others.
    ///
    /// # Errors
    /// A file that cannot be read or is not TOML.
    pub(super) fn open(path: Option<&Path>, env: &mut dyn Iterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let variables: Vec<_> = env.filter(|(name, _)| name.as_encoded_bytes().starts_with(keys::PREFIX.as_bytes())).collect();
        let named = path.map(Path::to_path_buf).or_else(|| {
            let (_, value) = variables.iter().find(|(name, _)| name == keys::CONFIG)?;
            (!value.is_empty()).then(|| PathBuf::from(value))
        });
        let file = match named {
            Some(path) => Some(path),
            None => Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()),
        };
        let file = file.map(|path| std::path::absolute(&path).unwrap_or(path));
        let base = file.as_deref().and_then(Path::parent).map_or_else(|| std::env::current_dir().unwrap_or_default(), Path::to_path_buf);
        let mut reader = Self { file, base, values: BTreeMap::new(), env_table: Vec::new(), log_filter: None, problems: Vec::new() };
        reader.read_file()?;
        reader.read_variables(variables);
        Ok(reader)
    }

    /// The file that was read, as an absolute path.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Where relative paths start.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The value of `PASSKEY_HSM_LOG`.
    pub(super) fn take_log_filter(&mut self) -> Option<String> {
        self.log_filter.take()
    }

    /// What was wrong, if anything was.
    ///
    /// # Errors
    /// All of it.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        if self.problems.is_empty() { Ok(()) } else { Err(ConfigError { problems: self.problems }) }
    }

    /// Where `key` was set, if it was; asked before it is read.
    pub(super) fn place(&self, key: Key) -> Option<Place> {
        self.values.get(&key).map(|(place, _)| place.clone())
    }

    /// Notes a problem with `key`.
    pub(super) fn refuse(&mut self, place: Place, (section, name): Key, text: impl Display) {
        self.problems.push(Problem { place, text: format!("{section}.{name} {text}") });
    }

    /// Notes that `key`, which has no default, is not set; `example` is what could be written.
    pub(super) fn missing(&mut self, key: Key, example: &str) {
        let place = self.file.clone().map_or(Place::Nowhere, Place::WholeFile);
        let variable = keys::variable(key.0, key.1);
        self.refuse(place, key, format_args!("is missing: write {example} under [{}] (or set {variable})", key.0));
    }

    /// A text, read by `parse`; none when it is not set or was refused. `expected` describes it to a person.
    pub(super) fn text<T, E: Display>(&mut self, key: Key, expected: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let (place, raw) = self.values.remove(&key)?;
        let (Raw::Text(text) | Raw::Variable(text)) = raw else {
            self.refuse(place, key, format_args!("must be {expected}; found {}", raw.kind()));
            return None;
        };
        if text.trim().is_empty() {
            self.refuse(place, key, format_args!("is empty: write {expected}, or leave it out"));
            return None;
        }
        parse(&text).map_err(|error| self.refuse(place, key, error)).ok()
    }

    /// A text that `T` can be made of and that may be shown when it is wrong.
    pub(super) fn parsed<T: FromStr>(&mut self, key: Key, expected: &str) -> Option<T> {
        self.text(key, expected, |text| text.parse().map_err(|_| format!("must be {expected}; found {text:?}")))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: Key, words: &[(&str, T)]) -> Option<T> {
        let expected = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
        self.text(key, &expected, |text| {
            let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            found.ok_or_else(|| format!("must be {expected}; found {text:?}"))
        })
    }

    /// A path; a relative one starts at the file's directory.
    pub(super) fn path(&mut self, key: Key) -> Option<PathBuf> {
        let base = self.base.clone();
        self.text(key, "a path", |text| Ok::<_, &str>(base.join(text)))
    }

    /// A whole number within `range`, or `default`.
    pub(super) fn number<N: TryFrom<i64> + Display + PartialOrd>(&mut self, key: Key, range: RangeInclusive<N>, default: N) -> N {
        let Some((place, raw)) = self.values.remove(&key) else { return default };
        let number = match &raw {
            Raw::Integer(i) => Some(*i),
            Raw::Variable(text) => text.trim().replace('_', "").parse().ok(),
            _ => None,
        };
        match number.map(N::try_from) {
            Some(Ok(n)) if range.contains(&n) => n,
            _ => {
                let found = match (number, &raw) {
                    (Some(n), _) => n.to_string(),
                    (None, Raw::Variable(_)) => "no number".to_owned(),
                    (None, raw) => raw.kind().to_owned(),
                };
                self.refuse(place, key, format_args!("must be a whole number from {} to {}; found {found}", range.start(), range.end()));
                default
            }
        }
    }

    /// A whole number of milliseconds within `range`, or `default`.
    pub(super) fn millis(&mut self, key: Key, range: RangeInclusive<u32>, default: u32) -> Duration {
        Duration::from_millis(self.number(key, range, default).into())
    }

    /// A list of texts, in a variable separated by commas; empty when it is not set.
    pub(super) fn list<T: FromStr<Err: Display>>(&mut self, key: Key) -> Vec<T> {
        let Some((place, raw)) = self.values.remove(&key) else { return Vec::new() };
        let texts: Option<Vec<&str>> = match &raw {
            Raw::Variable(text) => Some(text.split(',').map(str::trim).filter(|t| !t.is_empty()).collect()),
            Raw::List(items) => items.iter().map(|item| if let Raw::Text(text) = item { Some(text.as_str()) } else { None }).collect(),
            _ => None,
        };
        let Some(texts) = texts else {
            self.refuse(place, key, format_args!("must be an array of strings; found {}", raw.kind()));
            return Vec::new();
        };
        let parsed: Result<Vec<T>, T::Err> = texts.into_iter().map(str::parse).collect();
        parsed.unwrap_or_else(|error| {
            self.refuse(place, key, format_args!("cannot be used: {error}"));
            Vec::new()
        })
    }

    /// The table of environment variables, each checked by `check`.
    pub(super) fn env_table(&mut self, check: impl Fn(&str, &str) -> Result<(), &'static str>) -> BTreeMap<String, Zeroizing<String>> {
        let key = keys::ENV_TABLE;
        let mut entries = match self.values.remove(&key) {
            Some((place, Raw::Table(entries))) => entries.into_iter().map(|(name, raw)| (name, place.clone(), raw)).collect(),
            Some((place, raw)) => {
                self.refuse(place, key, format_args!("must be a table such as {{ SOFTHSM2_CONF = \"..\" }}; found {}", raw.kind()));
                Vec::new()
            }
            None => Vec::new(),
        };
        entries.append(&mut self.env_table);
        let mut table = BTreeMap::new();
        for (name, place, raw) in entries {
            let (Raw::Text(value) | Raw::Variable(value)) = raw else {
                self.refuse(place, key, format_args!("must hold strings; {name} is {}", raw.kind()));
                continue;
            };
            match check(&name, &value) {
                Ok(()) => drop(table.insert(name, value)),
                Err(text) => self.refuse(place, key, format_args!("cannot hold {name:?}: {text}")),
            }
        }
        table
    }

    fn read_file(&mut self) -> Result<(), ConfigError> {
        let Some(path) = self.file.clone() else { return Ok(()) };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError::one(Place::WholeFile(path.clone()), format!("cannot be read: {error}")))?;
        let text = Zeroizing::new(text);
        for item in file::parse(&path, &text)? {
            let (ItemValue::Section(keys), Some(section)) = (item.value, keys::section(&item.name)) else {
                let text = format!("unknown key or section {}: {}", item.name, keys::suggest_section(&item.name));
                self.problems.push(Problem { place: item.place, text });
                continue;
            };
            for (name, place, raw) in keys {
                if let Some(key) = section.1.iter().find(|key| **key == name) {
                    self.values.insert((section.0, key), (place, raw));
                } else {
                    let text = format!("unknown key {}.{name}: {}", section.0, keys::suggest_key(section, &name));
                    self.problems.push(Problem { place, text });
                }
            }
        }
        Ok(())
    }

    fn read_variables(&mut self, variables: Vec<(OsString, OsString)>) {
        let env_prefix = format!("{}__", keys::variable(keys::ENV_TABLE.0, keys::ENV_TABLE.1));
        let mut unknown = Vec::new();
        for (name, value) in variables {
            let name = name.to_string_lossy().into_owned();
            let place = Place::Environment(name.clone());
            let entry = name.strip_prefix(&env_prefix);
            let key = keys::of_variable(&name);
            if key.is_none() && entry.is_none() && name != keys::LOG {
                unknown.push(name);
                continue;
            }
            let Ok(value) = value.into_string() else {
                self.problems.push(Problem { place, text: "is not UTF-8".to_owned() });
                continue;
            };
            match (key, entry) {
                (_, Some(entry)) => self.env_table.push((entry.to_owned(), place, Raw::Variable(Zeroizing::new(value)))),
                (Some(key), None) => drop(self.values.insert(key, (place, Raw::Variable(Zeroizing::new(value))))),
                (None, None) => self.log_filter = Some(value).filter(|v| !v.is_empty()),
            }
        }
        let pin_variable = match self.values.get(&("hsm", "pin_env")) {
            Some((_, Raw::Text(name) | Raw::Variable(name))) => name.to_string(),
            _ => String::new(),
        };
        for name in unknown.into_iter().filter(|name| !keys::OTHER_VARIABLES.contains(&name.as_str()) && *name != pin_variable) {
            let text = format!("is not known: {}", keys::suggest_variable(&name));
            self.problems.push(Problem { place: Place::Environment(name), text });
        }
    }
}
