-- Listings are in the order in which credentials were made. The same on both engines.
CREATE INDEX credentials_by_time ON credentials (tenant_id, created_at, id);
