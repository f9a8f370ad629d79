//! The file that describes a tenant: the contract's configuration and our settings, as JSON or TOML.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, setup::name};
use crate::domain::{Tenant, TenantConfig, TenantSettings};

/// What a file may say. `settings` left out are left alone.
#[derive(Debug, Deserialize)]
pub(super) struct TenantFile {
    /// A new name.
    pub(super) display_name: Option<String>,
    /// The whole configuration.
    #[serde(flatten)]
    pub(super) config: TenantConfig,
    /// The whole settings.
    pub(super) settings: Option<TenantSettings>,
}

/// Every member that a file may have, by its parent.
const KNOWN: &[(&str, &[&str])] = &[
    ("", &["display_name", "cors", "webauthn", "mfa", "settings"]),
    ("cors", &["allowed_origins", "allow_unsafe_wildcard"]),
    ("webauthn", &["relying_party", "timeout", "user_verification", "attachment", "attestation_preference", "resident_key_requirement"]),
    ("webauthn.relying_party", &["id", "display_name", "icon", "origins"]),
    ("mfa", &["timeout", "user_verification", "attachment", "attestation_preference", "resident_key_requirement"]),
];

impl TenantFile {
    /// Reads `path`, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be read, is neither JSON nor TOML, has an unknown member, or describes a configuration that cannot be.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = if path == Path::new("-") {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            fs::read_to_string(path)
        };
        let text = text.map_err(|e| Failure::usage(format!("{shown}: {e}")))?;
        Self::parse(&text).map_err(|fault| Failure::usage(format!("{shown}: {fault}")))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value: Value = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|e| e.to_string())?
        } else {
            toml::from_str(text).map_err(|e| e.to_string())?
        };
        refuse_unknown(&value, "")?;
        // Serde reads a list as a structure too, and an empty one as all defaults.
        if value.get("settings").is_some_and(|settings| !settings.is_object()) {
            return Err("settings must be a table".to_owned());
        }
        let file: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        if let Some(why) = file.settings.as_ref().and_then(|settings| settings.attestation.contradiction()) {
            return Err(format!("settings.attestation: no authenticator can meet it: {why}"));
        }
        file.display_name.as_deref().map(name).transpose().map_err(|e| format!("display_name: {e}"))?;
        Ok(file)
    }

    /// The file that describes `tenant` as it is.
    pub(super) fn describe(tenant: &Tenant) -> Result<Value, Failure> {
        let config = serde_json::to_value(&tenant.config)?;
        let mut file = json!({ "display_name": tenant.display_name });
        if let (Some(file), Value::Object(config)) = (file.as_object_mut(), config) {
            file.extend(config);
            file.insert("settings".to_owned(), serde_json::to_value(&tenant.settings)?);
        }
        Ok(file)
    }
}

fn refuse_unknown(value: &Value, path: &str) -> Result<(), String> {
    let Some((_, known)) = KNOWN.iter().find(|(p, _)| *p == path) else { return Ok(()) };
    for (name, inner) in value.as_object().into_iter().flatten() {
        let inner_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if !known.contains(&name.as_str()) {
            let nearest = known.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            return Err(format!("there is no member {inner_path}; did you mean {}?", nearest.unwrap_or(&"")));
        }
        refuse_unknown(inner, &inner_path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        [cors]
        allowed_origins = ["https://example.org"]
        allow_unsafe_wildcard = false
        [webauthn]
        timeout = 60000
        attestation_preference = "enterprise"
        [webauthn.relying_party]
        id = "example.org"
        display_name = "Example"
        origins = ["https://example.org", "android:apk-key-hash:abc"]
        [settings]
        algorithm = "PS256"
    "#;

    #[test]
    fn reads_toml_and_json_and_describes_what_it_read() {
        let file = TenantFile::parse(TOML).unwrap();
        let json = serde_json::to_string(&toml::from_str::<Value>(TOML).unwrap()).unwrap();
        assert_eq!(TenantFile::parse(&json).unwrap().config, file.config);
        assert_eq!(file.settings.unwrap().algorithm.as_str(), "PS256");
    }

    #[test]
    fn a_member_that_is_not_there_is_named_with_the_nearest_one() {
        let fault = TenantFile::parse(&TOML.replace("attestation_preference", "attestation_preferences")).unwrap_err();
        assert_eq!(fault, "there is no member webauthn.attestation_preferences; did you mean attestation_preference?");
        for (key, value) in [("rsa_bits", "1024"), ("rsa_bits", "16384"), ("issuer", "\"\"")] {
            let fault = TenantFile::parse(&format!("{TOML}\n{key} = {value}")).unwrap_err();
            assert!(fault.contains(key), "{fault}");
        }
        assert!(TenantFile::parse(&format!("display_name = \" \"\n{TOML}")).unwrap_err().contains("display_name"));
        let impossible = TenantFile::parse(&format!("{TOML}\n[settings.attestation]\nrequired = true\nformats = []")).unwrap_err();
        assert!(impossible.starts_with("settings.attestation: no authenticator can meet it: "), "{impossible}");
        let list = TOML.replace("[settings]", "").replace("algorithm = \"PS256\"", "");
        assert!(TenantFile::parse(&format!("settings = []\n{list}")).unwrap_err().contains("settings"));
        assert!(TenantFile::parse(&TOML.replace("algorithm", "algoritm")).unwrap_err().contains("unknown field"));
    }
}
