//! What clients sent when credentials were made.

use sqlx::types::Uuid;

use super::{Error, Store, conn::Conn, credentials::CredentialRow, rows::text};
use crate::domain::{Credential, CredentialId, NewCredential, RegistrationEvidence, TenantId};

struct EvidenceRow {
    rp_id: String,
    client_data_json: Vec<u8>,
    attestation_object: Vec<u8>,
}

/// A credential's columns, and its evidence's.
#[expect(clippy::struct_excessive_bools, reason = "the tables' columns")]
struct WholeRow {
    tenant_id: Uuid,
    id: Vec<u8>,
    user_id: String,
    name: Option<String>,
    public_key: Vec<u8>,
    attestation_type: String,
    attestation_trust: String,
    attestation_record: String,
    aaguid: Uuid,
    sign_count: i64,
    transports: String,
    backup_eligible: bool,
    backup_state: bool,
    user_verified: bool,
    is_mfa: bool,
    created_at: i64,
    last_used_at: Option<i64>,
    rp_id: String,
    client_data_json: Vec<u8>,
    attestation_object: Vec<u8>,
}

impl Store {
    /// What a credential was made of; `None` where that was not kept, or there is no such credential.
    pub async fn credential_evidence(&self, tenant: TenantId, id: &CredentialId) -> Result<Option<RegistrationEvidence>, Error> {
        let row = query!(
            self.reader().await?,
            fetch_optional,
            EvidenceRow,
            "SELECT rp_id, client_data_json, attestation_object FROM credential_evidence WHERE tenant_id = $1 AND credential_id = $2",
            tenant.as_uuid(),
            id.as_bytes()
        )?;
        Ok(row.map(RegistrationEvidence::from))
    }

    /// A tenant's credentials whose evidence was kept, with it, in the order of their ids: at most `limit` of those after the id `after`.
    /// None when there are no more.
    pub async fn registration_evidence(
        &self,
        tenant: TenantId,
        after: Option<&CredentialId>,
        limit: u32,
    ) -> Result<Vec<(Credential, RegistrationEvidence)>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            WholeRow,
            r#"SELECT c.tenant_id AS "tenant_id: Uuid", c.id, c.user_id, c.name, c.public_key, c.attestation_type, c.attestation_trust,
                c.attestation_record, c.aaguid AS "aaguid: Uuid", c.sign_count, c.transports, c.backup_eligible AS "backup_eligible: bool",
                c.backup_state AS "backup_state: bool", c.user_verified AS "user_verified: bool", c.is_mfa AS "is_mfa: bool",
                c.created_at, c.last_used_at, e.rp_id, e.client_data_json, e.attestation_object
            FROM credential_evidence e JOIN credentials c ON c.tenant_id = e.tenant_id AND c.id = e.credential_id
            WHERE e.tenant_id = $1 AND e.credential_id > $2 ORDER BY e.credential_id LIMIT $3"#,
            tenant.as_uuid(),
            // No id is empty: every one comes after that.
            after.map_or([].as_slice(), CredentialId::as_bytes),
            i64::from(limit)
        )?;
        rows.into_iter().map(<(Credential, RegistrationEvidence)>::try_from).collect()
    }
}

/// Adds a credential's evidence, if it is to be kept, within the unit of work that adds the credential.
pub(super) async fn insert(tx: &mut Conn<'_>, c: &NewCredential) -> Result<(), Error> {
    let Some(evidence) = &c.evidence else { return Ok(()) };
    execute!(
        tx,
        "INSERT INTO credential_evidence (tenant_id, credential_id, rp_id, client_data_json, attestation_object)
        VALUES ($1, $2, $3, $4, $5)",
        c.tenant_id.as_uuid(),
        c.id.as_bytes(),
        text(&evidence.rp_id),
        evidence.client_data_json.as_slice(),
        evidence.attestation_object.as_slice()
    )?;
    Ok(())
}

impl From<EvidenceRow> for RegistrationEvidence {
    fn from(row: EvidenceRow) -> Self {
        Self { rp_id: row.rp_id, client_data_json: row.client_data_json, attestation_object: row.attestation_object }
    }
}

impl TryFrom<WholeRow> for (Credential, RegistrationEvidence) {
    type Error = Error;

    fn try_from(row: WholeRow) -> Result<Self, Error> {
        let credential = CredentialRow {
            tenant_id: row.tenant_id,
            id: row.id,
            user_id: row.user_id,
            name: row.name,
            public_key: row.public_key,
            attestation_type: row.attestation_type,
            attestation_trust: row.attestation_trust,
            attestation_record: row.attestation_record,
            aaguid: row.aaguid,
            sign_count: row.sign_count,
            transports: row.transports,
            backup_eligible: row.backup_eligible,
            backup_state: row.backup_state,
            user_verified: row.user_verified,
            is_mfa: row.is_mfa,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        };
        let evidence =
            RegistrationEvidence { rp_id: row.rp_id, client_data_json: row.client_data_json, attestation_object: row.attestation_object };
        Ok((credential.try_into()?, evidence))
    }
}
