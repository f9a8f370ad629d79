//! Which credentials a model of authenticator holds, across all tenants: for whoever reads that a model is broken.

use sqlx::types::Uuid;

use super::{
    Error, Store,
    credentials::{self, TABLE},
    rows::OrCorrupt,
};
use crate::domain::{Aaguid, CredentialId, CredentialOfModel, RegistrationEvidence, TenantId, Timestamp};

struct ModelRow {
    tenant_id: Uuid,
    tenant_name: String,
    id: Vec<u8>,
    user_id: String,
    attestation_type: String,
    attestation_trust: String,
    attestation_record: String,
    created_at: i64,
    last_used_at: Option<i64>,
}

/// A model's row with its evidence, where that was kept.
struct U2fRow {
    tenant_id: Uuid,
    tenant_name: String,
    id: Vec<u8>,
    user_id: String,
    attestation_type: String,
    attestation_trust: String,
    attestation_record: String,
    created_at: i64,
    last_used_at: Option<i64>,
    rp_id: Option<String>,
    client_data_json: Option<Vec<u8>>,
    attestation_object: Option<Vec<u8>>,
}

impl Store {
    /// Credentials that claim a model, or are proven to be of it, in the order of their tenants' ids and of their own: at most `limit` of
    /// those after `after`. None when there are no more.
    pub async fn credentials_by_aaguid(
        &self,
        aaguid: Aaguid,
        after: Option<&CredentialOfModel>,
        limit: u32,
    ) -> Result<Vec<CredentialOfModel>, Error> {
        let (tenant, id) = place(after);
        let rows = query!(
            self.reader().await?,
            fetch_all,
            ModelRow,
            r#"SELECT c.tenant_id AS "tenant_id: Uuid", t.display_name AS tenant_name, c.id, c.user_id, c.attestation_type,
                c.attestation_trust, c.attestation_record, c.created_at, c.last_used_at
            FROM credentials c JOIN tenants t ON t.id = c.tenant_id
            WHERE c.aaguid = $1 AND (c.tenant_id, c.id) > ($2, $3) ORDER BY c.tenant_id, c.id LIMIT $4"#,
            aaguid.as_uuid(),
            tenant,
            id,
            i64::from(limit)
        )?;
        rows.into_iter().map(CredentialOfModel::try_from).collect()
    }

    /// Credentials with a statement of the format `fido-u2f`, which has no AAGUID: what model each is of, the certificate in its evidence
    /// tells, where that was kept. Order, `after` and `limit` as in [`Store::credentials_by_aaguid`].
    pub async fn u2f_credentials(
        &self,
        after: Option<&CredentialOfModel>,
        limit: u32,
    ) -> Result<Vec<(CredentialOfModel, Option<RegistrationEvidence>)>, Error> {
        let (tenant, id) = place(after);
        let rows = query!(
            self.reader().await?,
            fetch_all,
            U2fRow,
            r#"SELECT c.tenant_id AS "tenant_id: Uuid", t.display_name AS tenant_name, c.id, c.user_id, c.attestation_type,
                c.attestation_trust, c.attestation_record, c.created_at, c.last_used_at,
                e.rp_id AS "rp_id?", e.client_data_json AS "client_data_json?", e.attestation_object AS "attestation_object?"
            FROM credentials c JOIN tenants t ON t.id = c.tenant_id
            LEFT JOIN credential_evidence e ON e.tenant_id = c.tenant_id AND e.credential_id = c.id
            WHERE c.attestation_type = 'fido-u2f' AND (c.tenant_id, c.id) > ($1, $2) ORDER BY c.tenant_id, c.id LIMIT $3"#,
            tenant,
            id,
            i64::from(limit)
        )?;
        rows.into_iter().map(<(CredentialOfModel, Option<RegistrationEvidence>)>::try_from).collect()
    }
}

/// The place after which to read on. Before all others is one of no tenant, with an id that no credential has.
fn place(after: Option<&CredentialOfModel>) -> (Uuid, &[u8]) {
    after.map_or((Uuid::nil(), [].as_slice()), |last| (last.tenant_id.as_uuid(), last.id.as_bytes()))
}

impl TryFrom<ModelRow> for CredentialOfModel {
    type Error = Error;

    fn try_from(row: ModelRow) -> Result<Self, Error> {
        let id = CredentialId::try_from(row.id.as_slice()).or_corrupt(TABLE, &format_args!("of tenant {}", row.tenant_id))?;
        Ok(Self {
            tenant_id: TenantId::from_uuid(row.tenant_id),
            tenant_name: row.tenant_name,
            user_id: row.user_id.parse().or_corrupt(TABLE, &id)?,
            created_at: Timestamp::from_millis(row.created_at),
            last_used_at: row.last_used_at.map(Timestamp::from_millis),
            attestation: credentials::attestation(&row.attestation_type, &row.attestation_trust, &row.attestation_record, &id)?,
            id,
        })
    }
}

impl TryFrom<U2fRow> for (CredentialOfModel, Option<RegistrationEvidence>) {
    type Error = Error;

    fn try_from(row: U2fRow) -> Result<Self, Error> {
        let model = ModelRow {
            tenant_id: row.tenant_id,
            tenant_name: row.tenant_name,
            id: row.id,
            user_id: row.user_id,
            attestation_type: row.attestation_type,
            attestation_trust: row.attestation_trust,
            attestation_record: row.attestation_record,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        };
        let evidence = match (row.rp_id, row.client_data_json, row.attestation_object) {
            (Some(rp_id), Some(client_data_json), Some(attestation_object)) => {
                Some(RegistrationEvidence { rp_id, client_data_json, attestation_object })
            }
            _ => None,
        };
        Ok((model.try_into()?, evidence))
    }
}
