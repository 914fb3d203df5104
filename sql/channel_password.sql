-- Purpose: the password that a channel has now, to be given back to it where another one does not do.
-- Privileges: none; to an account that may not SELECT from mysql.slave_master_info the answer is an error, and it stays unknown.
-- Versions: MySQL 8.0.22 and later, where a repository is a table unless set otherwise.
SELECT User_password AS password FROM mysql.slave_master_info WHERE Channel_name = {channel}
