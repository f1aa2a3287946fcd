-- Who there is. Services come as their system user over the local socket; reports with a password over loopback.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clinicpbx') THEN
        CREATE ROLE clinicpbx NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clinic-ledger') THEN
        CREATE ROLE "clinic-ledger" LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reports') THEN
        CREATE ROLE reports LOGIN CONNECTION LIMIT 10;
    END IF;
END $$;
ALTER ROLE reports PASSWORD ':VERIFIER';
SELECT 'CREATE DATABASE clinicpbx OWNER clinicpbx ENCODING ''UTF8'' TEMPLATE template0'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'clinicpbx') \gexec
REVOKE ALL ON DATABASE clinicpbx FROM PUBLIC;
GRANT CONNECT ON DATABASE clinicpbx TO "clinic-ledger", reports;
