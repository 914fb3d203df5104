-- Purpose: let an event run here, as whom it ran before: without its definer the statement would make this account that.
-- Privileges: SET_ANY_DEFINER, for a promotion
-- Versions: every MySQL since 5.1; the privilege is called SET_USER_ID before 8.2. A definer with SYSTEM_USER asks for that, too.
ALTER DEFINER = {user}@{host} EVENT {schema}.{event} ENABLE
