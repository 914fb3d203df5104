//! (mysql)
