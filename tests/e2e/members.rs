//! A replica of three members that form a Group Replication group: the channel on exactly one that can apply, wherever the primary is.

use std::{
    fs,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use pxc_link::{domain::hint::Remedy, report};
use sandbox::world::{Account, Cluster, Ha};

use crate::{
    Body,
    stage::{Checked, Stage},
    tool::Tool,
};

pub(crate) const TRIALS: &[(&str, Body)] = &[("the_channel_follows_the_group", follows)];

/// Namespace, link, channel and database.
const NAME: &str = "members";
/// The group chooses a new primary, and the old one is restarted and joins again.
const PATIENCE: Duration = Duration::from_secs(90);
const EVERY: Duration = Duration::from_millis(500);

/// The databases that are not the server's own.
const LEFT: &str = "SELECT schema_name FROM information_schema.schemata \
                    WHERE schema_name NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')";

/// The replica's members and the tool pointed at them.
struct Group<'a> {
    stage: &'a Stage,
    tool: Tool,
}

fn follows(stage: &Stage) -> Checked {
    stage.unlinked()?;
    // Earlier trials may have purged what an empty group needs, and left tables that no GTID stands for any more.
    let left = stage.sql(Cluster::Production, LEFT)?;
    for database in left.lines() {
        stage.sql(Cluster::Production, &format!("DROP DATABASE `{database}`"))?;
    }
    let table = "RESET BINARY LOGS AND GTIDS; CREATE DATABASE members; \
                 CREATE TABLE members.a (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40))";
    stage.sql(Cluster::Production, table)?;
    stage.runtime.block_on(stage.world.make_group(NAME, 3, Ha::SinglePrimary))?;
    let folder = stage.folder.path().join(NAME);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("pxc-link.yaml"), configuration())?;
    let group = Group { stage, tool: Tool::new(&folder, stage.world.environment()) };
    let ended = group.run_through();
    // The next run makes it anew.
    let delete = ["--context", "dr", "delete", "namespace", NAME, "--wait=false"];
    ended.and_then(|()| stage.kubectl(&delete).map(drop))
}

fn configuration() -> String {
    format!(
        "apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks:\n  {NAME}:\n    host: pxc-{NAME}.production.global\n    \
         source:\n      kubernetes: {{context: production, namespace: pxc, service: pxc}}\n      \
         account: {{user: pxc_link, password: {{env: PXC_SOURCE_PASSWORD}}}}\n    \
         replica:\n      kubernetes: {{context: dr, namespace: {NAME}, selector: app=pxc, container: pxc}}\n      \
         account: {{user: pxc_link, password: {{env: PXC_REPLICA_PASSWORD}}}}\n    \
         replication:\n      account: {{user: repl, password: {{env: PXC_REPLICATION_PASSWORD}}}}\n      \
         tls: {{mode: verify-ca, ca: /etc/mysql/tls/ca.crt}}\n"
    )
}

impl Group<'_> {
    fn run_through(&self) -> Checked {
        let ended = self.tool.run(&["setup", "--yes"])?;
        ended.exits(0)?;
        ended.says("replicating on pxc-0")?;
        self.rows_arrive("first")?;
        self.leftover()?;
        self.primary_dies()?;
        self.two_receivers()?;
        self.tool.run(&["teardown", "--yes"])?.exits(0)?;
        same("the members with the channel", &Vec::new(), &self.carriers()?)
    }

    /// A copy as a clone or a restored backup leaves one, on a member that takes no writes.
    fn leftover(&self) -> Checked {
        self.copy_on(1, "")?;
        let found = self.tool.run(&["verify"])?;
        found.exits(4)?;
        let seen = ["[PXL506]", "[PXL450]", "ONLINE SECONDARY in a single-primary group"];
        seen.iter().try_for_each(|text| found.says(text))?;
        let ended = self.tool.run(&["setup", "--yes"])?;
        ended.exits(0)?;
        ended.says("channel members on pxc-1  stopped and deleted")?;
        same("the members with the channel", &vec![0], &self.carriers()?)?;
        self.tool.run(&["verify"])?.exits(0)
    }

    /// The group has another primary, and the old one comes back with a channel that it may not apply.
    fn primary_dies(&self) -> Checked {
        // The client's connection ends with the server.
        let _ = self.sql(0, "SHUTDOWN");
        let back = || {
            self.sql(0, "SELECT member_role FROM performance_schema.replication_group_members WHERE member_id = @@server_uuid AND member_state = 'ONLINE'")
        };
        soon(|| match back()?.as_str() {
            "SECONDARY" => Ok(()),
            other => Err(format!("the old primary is `{other}`").into()),
        })?;
        self.insert("while the channel stood still")?;
        let found = self.tool.run(&["verify"])?;
        found.exits(4)?;
        found.says("channel `members` is on replica pxc-0, which takes no writes in its cluster")?;
        let ended = self.tool.run(&["setup", "--yes"])?;
        ended.exits(0)?;
        let place = |text: &str| ended.stderr.lines().position(|line| line.contains(text));
        let (deleted, made) =
            (place("channel members on pxc-0  stopped and deleted"), place("configured and read back"));
        if deleted.is_none() || deleted > made {
            return Err(format!("the old copy should be deleted before the new one is made\n{ended}").into());
        }
        match self.carriers()?.as_slice() {
            [one] if *one != 0 => {}
            other => return Err(format!("the channel is on members {other:?}").into()),
        }
        self.rows_arrive("after the move")?;
        self.tool.run(&["verify"])?.exits(0)
    }

    /// Where every member takes writes, two copies run side by side and neither shows an error.
    fn two_receivers(&self) -> Checked {
        self.sql(1, "SELECT group_replication_switch_to_multi_primary_mode()")?;
        self.copy_on(0, "START REPLICA FOR CHANNEL 'members'")?;
        let both =
            "SELECT service_state FROM performance_schema.replication_connection_status WHERE channel_name = 'members'";
        let carriers = self.carriers()?;
        soon(|| {
            let states: Result<Vec<String>, Failed> = carriers.iter().map(|member| self.sql(*member, both)).collect();
            if states?.iter().all(|state| state == "ON") { Ok(()) } else { Err("not both receivers are ON".into()) }
        })?;
        same("how many members have the channel", &2, &carriers.len())?;
        let found = self.tool.run(&["verify"])?;
        found.exits(4)?;
        found.says("[PXL506]")?;
        // As printed: the second copy is stopped, then setup deletes it.
        for remedy in report::commands(hint_of(&found.stdout, "[PXL506]")) {
            match remedy {
                Remedy::Sql { server, statement } => {
                    let member = server.strip_prefix("replica pxc-").and_then(|number| number.parse().ok());
                    self.sql(member.ok_or("no member of the replica")?, &statement)?;
                }
                Remedy::Argv(argv) => self.tool.run_agreed(&argv)?,
            }
        }
        same("how many members have the channel", &1, &self.carriers()?.len())?;
        self.rows_arrive("on one again")?;
        self.tool.run(&["verify"])?.exits(0)
    }

    /// Makes a copy of the link's channel on a member by hand.
    fn copy_on(&self, member: u32, then: &str) -> Checked {
        let password = self.stage.world.password(Account::Replication);
        let change = format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='pxc-{NAME}.production.global', SOURCE_PORT=3306, SOURCE_USER='repl', \
             SOURCE_PASSWORD='{password}', SOURCE_AUTO_POSITION=1, SOURCE_SSL=1 FOR CHANNEL '{NAME}'; {then}"
        );
        self.sql(member, &change).map(drop)
    }

    fn sql(&self, member: u32, statements: &str) -> Result<String, Failed> {
        let rows = self.stage.world.mysql_in(Cluster::Dr, NAME, member, statements);
        Ok(self.stage.runtime.block_on(rows)?.trim().to_owned())
    }

    fn insert(&self, row: &str) -> Checked {
        self.stage.sql(Cluster::Production, &format!("INSERT INTO members.a (v) VALUES ('{row}')")).map(drop)
    }

    /// Writes one more row, and demands that every member then has the source's table.
    fn rows_arrive(&self, row: &str) -> Checked {
        self.insert(row)?;
        let checksum = "CHECKSUM TABLE members.a";
        let wanted = self.stage.sql(Cluster::Production, checksum)?;
        soon(|| (0..3).try_for_each(|member| same("the table", &wanted, &self.sql(member, checksum)?)))
    }

    /// The members that have the channel, running or not.
    fn carriers(&self) -> Result<Vec<u32>, Failed> {
        let list = format!("SELECT COUNT(*) FROM mysql.slave_master_info WHERE Channel_name = '{NAME}'");
        let mut found = Vec::new();
        for member in 0..3 {
            if self.sql(member, &list)? != "0" {
                found.push(member);
            }
        }
        Ok(found)
    }
}

/// The lines of the check that shows a code, up to the next check.
fn hint_of<'a>(text: &'a str, code: &str) -> &'a str {
    let from = text.find(code).unwrap_or(text.len());
    let end = text[from..].find("\n  ✗").or_else(|| text[from..].find("\n  ✓")).map_or(text.len(), |end| from + end);
    &text[from..end]
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, got: &T) -> Checked {
    if wanted == got { Ok(()) } else { Err(format!("{what}: {wanted:?} was expected, not {got:?}").into()) }
}

fn soon<T>(mut attempt: impl FnMut() -> Result<T, Failed>) -> Result<T, Failed> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(EVERY),
            end => return end,
        }
    }
}
