//! MySQL: the only user of `mysql_async`. Reads servers into facts and carries out the channel's statements.

mod statements;
