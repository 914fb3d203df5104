-- Purpose: what the account of this session may do, the roles that are active in it included.
-- Privileges: none for the account itself.
-- Versions: MySQL 8.0 and later.
SHOW GRANTS
