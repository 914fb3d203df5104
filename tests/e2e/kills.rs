//! pxc-link killed at a request, a server killed under it, two runs from two hosts: a sample of `cargo sandbox soak kills`, drawn anew
//! each time; and how many requests it makes.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Failed;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sandbox::{
    kills::{Ground, Job, Kills},
    plain::End,
    relay::{Asked, Kill, Moment},
};

use crate::{
    Body,
    duo::Duo,
    plain,
    stage::{Checked, LINK, Stage},
};

/// On the world.
pub(crate) const TRIALS: &[(&str, Body)] = &[
    ("at_some_requests_of_a_world", world_sample),
    ("two_setups_on_two_hosts", two_hosts),
    ("a_killed_one_of_another_host", killed_elsewhere),
    ("requests_do_not_grow", requests),
];

/// On plain servers.
pub(crate) const PLAIN: &[(&str, plain::Body)] = &[
    ("at_some_statements", pair_sample),
    ("at_some_statements_of_a_promotion", promotion_sample),
    ("either_server", servers),
];

/// The most requests of commands on a link of one member on each side, all and those that wait for one another. Seen were 279 and
/// 95, 99 and 26, 158 and 62 to 67; how often a sidecar and a receiver are asked whether they are ready is left to chance.
const MOST: [(&[&str], usize, usize); 3] =
    [(&["setup", "--yes"], 290, 110), (&["verify"], 104, 33), (&["teardown", "--yes"], 164, 70)];
/// What a setup takes at the most to get its lock.
const KNOWN: Duration = Duration::from_secs(20);
/// When the lock of a run that was killed has expired in any case.
const EXPIRES: Duration = Duration::from_secs(31);
/// Added to each request and its answer, so that what does not wait for another is seen not to.
const DELAY: Duration = Duration::from_millis(100);

/// The numbers a trial draws; `PXC_LINK_SEED` draws those of an earlier run again.
fn drawn() -> Result<(u64, StdRng), Failed> {
    let seed = match std::env::var("PXC_LINK_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::rng().random(),
    };
    Ok((seed, StdRng::seed_from_u64(seed)))
}

/// Kills setup and what ends the link at requests drawn from all of theirs, one in each of so many equal parts.
async fn sample(kills: &Kills<'_>, end: Job, parts: usize) -> Checked {
    let (seed, mut numbers) = drawn()?;
    kills.start_over().await?;
    let mut all = Vec::new();
    for job in [Job::Setup, end] {
        all.push((job, kills.job(job, None).await?.asked.len()));
    }
    let mut ended_before = 0;
    for part in 0..parts {
        for &(job, requests) in &all {
            let request = 1 + requests * part / parts + numbers.random_range(0..requests.div_ceil(parts));
            let moment = if numbers.random() { Moment::Unsent } else { Moment::Unanswered };
            let kill = Kill { request, moment, other: None };
            let tried = kills.job(job, Some(kill)).await;
            let tried = tried.map_err(|error| format!("{job} {request} {moment} (PXC_LINK_SEED={seed}): {error}"))?;
            ended_before += usize::from(tried.killed_at.is_none());
        }
    }
    // How many requests a run makes is left to chance, so that one may end before it is killed.
    if ended_before > 1 {
        return Err(format!("{ended_before} runs ended before they were killed (PXC_LINK_SEED={seed})").into());
    }
    Ok(())
}

fn tool() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pxc-link"))
}

fn pair_sample() -> Checked {
    let duo = Duo::raise("e2e-kills")?;
    duo.now(async {
        let kills = Kills::on(Ground::pair(&duo.plain, Duration::ZERO).await?, tool()).await?;
        sample(&kills, Job::Teardown, 4).await
    })
}

fn promotion_sample() -> Checked {
    let duo = Duo::raise("e2e-kills-promote")?;
    duo.now(async {
        let kills = Kills::on(Ground::pair(&duo.plain, Duration::ZERO).await?, tool()).await?;
        sample(&kills, Job::Promotion, 3).await
    })
}

fn servers() -> Checked {
    let duo = Duo::raise("e2e-kills-servers")?;
    duo.now(async {
        let (seed, mut numbers) = drawn()?;
        let kills = Kills::on(Ground::pair(&duo.plain, Duration::ZERO).await?, tool()).await?;
        let requests = kills.job(Job::Setup, None).await?.asked.len();
        for end in End::ALL {
            kills.start_over().await?;
            // Not one of the last, which another run may not come to.
            let request = numbers.random_range(1..=requests * 3 / 4);
            let tried = kills.server(end, request).await;
            tried.map_err(|error| format!("{end} at {request} (PXC_LINK_SEED={seed}): {error}"))?;
        }
        Ok::<(), Failed>(())
    })
}

fn world_sample(stage: &Stage) -> Checked {
    stage.runtime.block_on(async {
        let ground = Ground::world(&stage.world, LINK, Duration::ZERO).await?;
        sample(&Kills::on(ground, tool()).await?, Job::Teardown, 2).await
    })
}

/// A setup on a machine of another name, which knows nothing of this one's processes; it dies with the process that is started.
fn elsewhere(stage: &Stage) -> Command {
    let mut there = Command::new("unshare");
    there.args([
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        "hostname elsewhere && exec \"$0\" setup --yes",
    ]);
    there.arg(tool()).current_dir(stage.folder.path()).env_clear().envs(stage.world.environment());
    there
}

/// The lock of a run that was killed on another host holds for its 30 s, is watched for as long and then taken over.
fn killed_elsewhere(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let mut there = elsewhere(stage);
    let mut there = there.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let lease = ["--context", "dr", "-n", "pxc", "get", "leases", "-o", "jsonpath={.items[*].spec.holderIdentity}"];
    let begun = Instant::now();
    while !stage.kubectl(&lease)?.contains("elsewhere") {
        if begun.elapsed() > KNOWN {
            return Err("the setup elsewhere took no lock".into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    there.kill()?;
    there.wait()?;
    let refused = stage.tool().run(&["setup", "--yes"])?;
    refused.fails(4, "PXL209", &["holder elsewhere", "30 s after the last renewal of a run that died"])?;
    thread::sleep(EXPIRES);
    let taken = stage.tool().run(&["setup", "--yes"])?;
    taken.exits(0)?;
    taken.says("lock of elsewhere")?;
    taken.says("watched for 30 s, then taken over")?;
    stage.tool().run(&["verify", "--wait", "20s"])?.exits(0)
}

/// The same setup here and on a machine of another name, which knows nothing of this one's processes.
fn two_hosts(stage: &Stage) -> Checked {
    stage.unlinked()?;
    let here = stage.tool().command(&["setup", "--yes"]);
    let mut runs = Vec::new();
    for mut command in [here, elsewhere(stage)] {
        runs.push(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
    }
    let mut good = 0;
    for run in runs {
        let output = run.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        // Whoever comes second finds the lock, or a link that is not what it had planned for, or nothing left to do.
        match output.status.code() {
            Some(0) => good += 1,
            Some(_) if said.contains("[PXL209]") || said.contains("[PXL112]") => {}
            code => return Err(format!("one of two ended with {code:?}\n{said}").into()),
        }
    }
    if good == 0 {
        return Err("neither of two setups at once set the link up".into());
    }
    stage.tool().run(&["setup", "--yes"])?.says("nothing to change")?;
    stage.tool().run(&["verify", "--wait", "20s"])?.exits(0)
}

fn requests(stage: &Stage) -> Checked {
    stage.unlinked()?;
    stage.runtime.block_on(async {
        let ground = Ground::world(&stage.world, LINK, DELAY).await?;
        let kills = Kills::on(ground, tool()).await?;
        for (arguments, most, most_in_a_row) in MOST {
            kills.good(arguments).await?;
            let asked = kills.asked();
            let (all, row) = (asked.len(), Asked::in_a_row(&asked));
            if all > most || row > most_in_a_row {
                let seen =
                    format!("{arguments:?} made {all} requests, {row} in a row; {most} and {most_in_a_row} are known");
                return Err(seen.into());
            }
        }
        Ok(())
    })
}
