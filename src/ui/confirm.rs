//! Questions before something is changed. Asked only of a person at a terminal, and Ctrl-C ends them at once.

use std::{
    future::Future,
    io::{self, BufRead, IsTerminal},
};

use super::printer::Printer;
use crate::domain::{code::Code, hint::Hint, problem::Problem};

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Agreed.
    Yes,
    /// Anything else, the end of the input too.
    No,
}

/// Asks a question that ends with a question mark; only `y` and `yes` agree. `interrupted` is ready when the run is to
/// stop, Ctrl-C for one.
///
/// # Errors
/// [`Code::NotApproved`] where stdin or stderr is no terminal, [`Code::Interrupted`] when `interrupted` comes first.
pub async fn confirm(
    printer: &Printer,
    question: &str,
    interrupted: impl Future<Output = ()>,
) -> Result<Answer, Problem> {
    let reply = at_the_terminal(printer, &format!("{question} [y/N]"), interrupted).await?;
    Ok(agrees(&reply))
}

/// Asks to type the link's name, for what cannot be taken back; nothing else agrees.
///
/// # Errors
/// As [`confirm`].
pub async fn confirm_name(
    printer: &Printer,
    question: &str,
    link: &str,
    interrupted: impl Future<Output = ()>,
) -> Result<Answer, Problem> {
    let prompt = format!("{question} Type the link's name, {link}, to go on:");
    let reply = at_the_terminal(printer, &prompt, interrupted).await?;
    Ok(if reply.trim() == link { Answer::Yes } else { Answer::No })
}

/// Asks to choose one of several ways by its number; the first is what an empty or another answer means. Gives its index.
///
/// # Errors
/// As [`confirm`].
pub async fn choose(
    printer: &Printer,
    question: &str,
    ways: &[&str],
    interrupted: impl Future<Output = ()>,
) -> Result<usize, Problem> {
    let listed: Vec<String> = ways.iter().enumerate().map(|(index, way)| format!("  {}  {way}", index + 1)).collect();
    let prompt = format!("{question}\n{}\n1 to {} [1]:", listed.join("\n"), ways.len());
    let reply = at_the_terminal(printer, &prompt, interrupted).await?;
    Ok(chosen(&reply, ways.len()))
}

fn chosen(reply: &str, ways: usize) -> usize {
    reply.trim().parse::<usize>().ok().filter(|number| (1..=ways).contains(number)).map_or(0, |number| number - 1)
}

fn agrees(reply: &str) -> Answer {
    match reply.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        _ => Answer::No,
    }
}

async fn at_the_terminal(
    printer: &Printer,
    prompt: &str,
    interrupted: impl Future<Output = ()>,
) -> Result<String, Problem> {
    if !io::stdin().is_terminal() || !printer.err_is_terminal() {
        return Err(Problem::new(Code::NotApproved, "the changes need an answer and there is no terminal to ask at")
            .hint(Hint::text("read the plan above, then agree to it with `--yes`")));
    }
    ask(printer, prompt, io::BufReader::new(io::stdin()), interrupted).await
}

async fn ask(
    printer: &Printer,
    prompt: &str,
    mut input: impl BufRead + Send + 'static,
    interrupted: impl Future<Output = ()>,
) -> Result<String, Problem> {
    let unreadable = |error: io::Error| {
        Problem::new(Code::NotApproved, "the answer to the question cannot be read").seen(error.to_string())
    };
    printer.ask(prompt).map_err(unreadable)?;
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own and not the runtime's: a read from a terminal cannot be cancelled, and the runtime would wait
    // for it before the process may end.
    std::thread::spawn(move || {
        let mut line = String::new();
        // The other end is gone after Ctrl-C; then nobody wants the answer.
        let _ = tell.send(input.read_line(&mut line).map(|_| line));
    });
    tokio::select! {
        biased;
        () = interrupted => {
            printer.error("\n");
            Err(Problem::new(Code::Interrupted, "interrupted at the question; what it asks about was not done"))
        }
        reply = told => {
            let reply = reply.unwrap_or_else(|_| Err(io::ErrorKind::UnexpectedEof.into())).map_err(unreadable)?;
            if !reply.ends_with('\n') {
                // Ctrl-D leaves the cursor behind the question.
                printer.error("\n");
            }
            Ok(reply)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future, io::Cursor, time::Duration};

    use super::*;
    use crate::ui::{
        printer::{
            Loudness,
            tests::{Page, printer},
        },
        theme::Theme,
    };

    #[test]
    fn only_yes_agrees() {
        let answers = ["y\n", " YES \n", "", "\n", "n\n", "yo\n", "yes please\n"].map(agrees);
        let (yes, no) = (Answer::Yes, Answer::No);
        assert_eq!(answers, [yes, yes, no, no, no, no, no]);
    }

    #[test]
    fn what_is_no_number_of_a_way_is_the_first() {
        assert_eq!(["1\n", " 3 \n", "", "\n", "0", "4", "two"].map(|reply| chosen(reply, 3)), [0, 2, 0, 0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn the_question_is_on_stderr_also_when_quiet_and_the_line_typed_comes_back() {
        let (out, err) = (Page::default(), Page::default());
        let printer = printer(Loudness::Quiet, Theme::default(), true, out.clone(), err.clone());
        let reply = ask(&printer, "Apply? [y/N]", Cursor::new("y\nrest"), future::pending()).await.unwrap();
        assert_eq!((reply.as_str(), out.text().as_str(), err.text().as_str()), ("y\n", "", "Apply? [y/N] "));
    }

    #[tokio::test]
    async fn an_interrupt_ends_a_question_that_nobody_answers() {
        let (silent, _kept_open) = io::pipe().unwrap();
        let printer = printer(Loudness::Normal, Theme::default(), true, Page::default(), Page::default());
        let asked = ask(&printer, "Apply?", io::BufReader::new(silent), tokio::time::sleep(Duration::from_millis(20)));
        let problem = tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap().unwrap_err();
        assert_eq!(problem.code, Code::Interrupted);
    }

    #[tokio::test]
    async fn without_a_terminal_nobody_is_asked() {
        let err = Page::default();
        let printer = printer(Loudness::Normal, Theme::default(), false, Page::default(), err.clone());
        let problem = confirm(&printer, "Apply?", future::pending()).await.unwrap_err();
        assert_eq!((problem.code, err.text().as_str()), (Code::NotApproved, ""));
    }
}
