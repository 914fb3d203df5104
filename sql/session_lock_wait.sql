-- Purpose: closing a server to writes waits for locks and open commits, and must not wait for ever.
-- Privileges: none.
-- Versions: every MySQL since 5.5.3.
SET SESSION lock_wait_timeout = 10
