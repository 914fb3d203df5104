//! `cargo sandbox bench setup`: how long `pxc-link setup` takes beside a script of kubectl and mysql that does the same, and how
//! many requests it makes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use sandbox::cache::Cache;
use sandbox::kills::{Ground, Kills};
use sandbox::relay::Asked;
use sandbox::world::World;
use tokio::process::Command;

use super::{Bench, BenchError, LONGEST, Times, doing, ended, on_a_world, say};
use crate::demo;

/// What a person would run instead.
const BY_HAND: &str = include_str!("by_hand.sh");
/// What is added to each request and its answer when those are counted that wait for one another: long beside all else.
const DELAY: Duration = Duration::from_millis(100);
const SETUP: &[&str] = &["--quiet", "setup", "--source", "production", "--yes"];
const TEARDOWN: &[&str] = &["--quiet", "teardown", "--source", "production", "--yes"];

/// The arguments of `bench setup`.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// A world that stands [default: one of its own, which is removed in the end]
    #[arg(long)]
    name: Option<String>,
    /// How many times each
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

impl Setup {
    /// Measures and prints.
    pub(crate) async fn run(&self, cache: &Cache) -> Result<(), BenchError> {
        on_a_world(cache, self.name.as_deref(), self.runs, async |bench| {
            bench.beside_the_script().await?;
            bench.counted().await
        })
        .await
    }
}

impl Bench {
    /// In turns, so that whatever else the machine does meets both.
    async fn beside_the_script(&self) -> Result<(), BenchError> {
        self.write("pxc-link.yaml", demo::CONFIG)?;
        let script = self.write("by_hand.sh", BY_HAND)?;
        let kubeconfig = self.world.kubeconfig();
        self.pxc_link(&kubeconfig, TEARDOWN).await?;
        let (mut setup, mut by_hand) = (Vec::new(), Vec::new());
        // The first round only warms up.
        for round in 0..=self.runs {
            let scripted = by_hand_on(&self.world, &script, &[]).await?;
            by_hand_on(&self.world, &script, &["undo"]).await?;
            let set_up = self.pxc_link(&kubeconfig, SETUP).await?;
            self.pxc_link(&kubeconfig, TEARDOWN).await?;
            if round > 0 {
                by_hand.push(scripted);
                setup.push(set_up);
            }
        }
        let [setup, by_hand] = [setup, by_hand].map(Times::of);
        say(&format!("setup {setup}"))?;
        say(&format!("a script of kubectl and mysql {by_hand}: setup is {}", setup.over(&by_hand)))
    }

    /// Requests of both API servers and statements through them, all, and those that wait for one another.
    async fn counted(&self) -> Result<(), BenchError> {
        let ground = Ground::world(&self.world, demo::CONFIG, DELAY).await?;
        let kills = Kills::on(ground, &self.tool).await?;
        for arguments in [&["setup", "--yes"][..], &["verify"], &["teardown", "--yes"]] {
            kills.good(arguments).await?;
            let (asked, command) = (kills.asked(), arguments.first().unwrap_or(&""));
            let row = Asked::in_a_row(&asked);
            say(&format!("{command}: {} requests, {row} in a row with {DELAY:?} more for each", asked.len()))?;
        }
        Ok(())
    }
}

/// Runs the script as an administrator of both clusters; how long it took.
async fn by_hand_on(world: &World, script: &PathBuf, arguments: &[&str]) -> Result<Duration, BenchError> {
    let mut command = Command::new("bash");
    command.arg(script).args(arguments).envs(world.environment()).env("KUBECONFIG", world.admin_kubeconfig());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let begun = Instant::now();
    let output = tokio::time::timeout(LONGEST, command.output()).await;
    let output =
        output.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(doing("run by_hand.sh"))?;
    ended("by_hand.sh".to_owned(), &output)?;
    Ok(begun.elapsed())
}
