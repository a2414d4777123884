//! One reviewer from its work tree to its review: asks it, retries after a rate limit, and parses its answer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use process::tree::{self, Mark, Tree};
use tokio::sync::OnceCell;

use super::attempt::{self, Answer, Question, Show};
use super::progress::{Progress, State, counted};
use super::redact::Redactor;
use crate::adapters::config::Reviewer;
use crate::adapters::{detect, is_rate_limit};
use crate::git::Git;
use crate::pristine::{Pristine, Starting};
use crate::settings::Settings;
use crate::state::RoundFolder;
use crate::target::Pinned;
use crate::worktree::{self, Extent};
use review::model::{Note, Outcome, Performance, Review, ReviewerRun};
use review::parse;
use review::plain::one_line;

/// Variables that every reviewer gets. It inherits no other variable.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "PATHEXT",
    "COMSPEC",
];

/// The longest pause after a rate limit, which lasts minutes; a longer pause would only use up the reviewer's time.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The state that all reviewers of a round share.
pub(super) struct RunContext {
    pub(super) git: Git,
    pub(super) pinned: Pinned,
    pub(super) round: RoundFolder,
    pub(super) prompt: String,
    pub(super) mark: Mark,
    /// The marks of the process trees that this process belongs to.
    pub(super) above: Option<String>,
    pub(super) cache: std::path::PathBuf,
    pub(super) redactor: Redactor,
    pub(super) progress: Arc<dyn Progress>,
    /// Configuration of analysers that the change edits, as it is at the merge base.
    pub(super) settings: Settings,
    /// The shared checkout while it is being made; the first reviewer that needs it takes it from here.
    pub(super) checkout: Mutex<Option<Starting>>,
    /// The shared checkout; `None` inside: no checkout is shared.
    pub(super) pristine: OnceCell<Option<Pristine>>,
}

impl RunContext {
    /// Returns the context of questions other than a review: without the shared checkout, which may be removed before.
    pub(super) fn for_questions(&self) -> RunContext {
        RunContext {
            git: self.git.clone(),
            pinned: self.pinned.clone(),
            round: self.round.clone(),
            prompt: String::new(),
            mark: self.mark.clone(),
            above: self.above.clone(),
            cache: self.cache.clone(),
            redactor: self.redactor.clone(),
            progress: self.progress.clone(),
            settings: Settings::default(),
            checkout: Mutex::new(None),
            pristine: OnceCell::new(),
        }
    }

    /// Waits for the shared checkout if a reviewer with this view of the work tree uses it.
    async fn await_checkout(&self, extent: Extent) {
        if extent != Extent::Full {
            return;
        }
        self.pristine
            .get_or_init(|| async {
                let starting = self
                    .checkout
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take()?;
                tokio::task::spawn_blocking(move || starting.wait())
                    .await
                    .ok()
                    .flatten()
            })
            .await;
    }

    /// Returns the checkout that a reviewer shares with others. An analyser has its own if the change edits its
    /// configuration, because that is restored there.
    fn shared(&self, reviewer: &Reviewer) -> Option<&Pristine> {
        let made = self.pristine.get().and_then(Option::as_ref);
        let own = reviewer.is_exact() && !self.settings.is_empty();
        made.filter(|_| reviewer.worktree == Extent::Full && !own)
    }
}

/// Returns the names of the variables that a reviewer inherits.
pub(super) fn inherited(reviewer: &Reviewer) -> Vec<String> {
    ENVIRONMENT
        .iter()
        .chain(reviewer.kind.adapter().environment())
        .map(|name| (*name).to_owned())
        .chain(reviewer.env.iter().cloned())
        .collect()
}

/// Asks a reviewer. The result reports any failure.
pub(super) async fn ask(context: Arc<RunContext>, reviewer: Reviewer) -> ReviewerRun {
    let started = Instant::now();
    let name = reviewer.name.clone();
    context.progress.show(&name, State::Preparing, "");
    let work = context.round.work(&name);
    let scratch = context.round.scratch(&name);
    let mut performance = Performance::default();
    context.await_checkout(reviewer.worktree).await;
    let prepared = {
        let (context, work, scratch, reviewer) = (
            context.clone(),
            work.clone(),
            scratch.clone(),
            reviewer.clone(),
        );
        tokio::task::spawn_blocking(move || prepare(&context, &work, &scratch, &reviewer)).await
    };
    // The run itself removes what a cancelled future leaves.
    let result = match prepared {
        Ok(Ok(())) => attempts(&context, &reviewer, &work, &scratch, &mut performance).await,
        Ok(Err(reason)) => Err(Outcome::Failed { reason }),
        Err(error) => Err(Outcome::Failed {
            reason: error.to_string(),
        }),
    };
    performance.seconds = Some(started.elapsed().as_secs_f64());
    let (outcome, review, original) = match result {
        Ok(usable) => usable,
        Err(outcome) => {
            let review = Review {
                reviewer: name.clone(),
                ..Review::default()
            };
            (outcome, review, String::new())
        }
    };
    let state = match &outcome {
        Outcome::Finished { .. } => State::Finished,
        Outcome::Partial { .. } | Outcome::Failed { .. } => State::Failed,
        Outcome::Missing { .. } => State::Missing,
    };
    let found = outcome.is_answer().then(|| counted(review.findings.len()));
    let said: Vec<&str> = found
        .as_deref()
        .into_iter()
        .chain(outcome.trouble())
        .collect();
    let action = said.join("; ");
    context.progress.show(&name, state, &one_line(&action, 200));
    ReviewerRun {
        name,
        outcome,
        review,
        original,
        performance,
    }
}

fn prepare(
    context: &RunContext,
    work: &Path,
    scratch: &Path,
    reviewer: &Reviewer,
) -> Result<(), String> {
    for folder in [work.parent(), Some(scratch)].into_iter().flatten() {
        process::file::create_private_dir(folder).map_err(|error| error.to_string())?;
    }
    let (git, head) = (&context.git, &context.pinned.target.head);
    let changed = &context.pinned.diff.files;
    match context.shared(reviewer) {
        Some(pristine) => pristine.lay(git, &reviewer.name, work, head),
        None => worktree::add(git, work, head, reviewer.worktree, changed),
    }
    .map_err(|error| error.to_string())?;
    if reviewer.is_exact() {
        context.settings.restore(work).map_err(|error| {
            format!("cannot put its configuration back to the merge base: {error}")
        })?;
    }
    Ok(())
}

/// Returns the outcome, the review and its original text.
type Usable = (Outcome, Review, String);

async fn attempts(
    context: &RunContext,
    reviewer: &Reviewer,
    work: &Path,
    scratch: &Path,
    performance: &mut Performance,
) -> Result<Usable, Outcome> {
    let deadline = Instant::now() + reviewer.timeout;
    let mut pause = reviewer.backoff;
    let mut retries = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        context.progress.show(&reviewer.name, State::Working, "");
        let answer = one(context, reviewer, work, scratch, &context.prompt, left).await;
        answer.said.usage.add_to(performance);
        let failure = match usable(context, reviewer, work, answer) {
            Ok(usable) => return Ok(usable),
            Err(outcome @ Outcome::Missing { .. }) => return Err(outcome),
            Err(outcome) => outcome,
        };
        let Outcome::Failed { reason } = &failure else {
            return Err(failure);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if !is_rate_limit(reason) || retries >= reviewer.retries || left <= pause {
            return Err(match retries {
                0 => failure,
                count => Outcome::Failed {
                    reason: format!("asked {} times; at last: {reason}", count + 1),
                },
            });
        }
        retries += 1;
        context.progress.show(
            &reviewer.name,
            State::Pausing,
            &format!("rate limit; retrying in {} s", pause.as_secs()),
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Asks one question, and kills every process that was started for it.
pub(super) async fn one(
    context: &RunContext,
    reviewer: &Reviewer,
    work: &Path,
    scratch: &Path,
    prompt: &str,
    timeout: Duration,
) -> Answer {
    let mark = Mark::new();
    let above = context.mark.below(context.above.as_deref());
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut set = vec![
        (tree::VARIABLE.to_owned(), mark.below(Some(&above))),
        ("TMPDIR".to_owned(), text(scratch)),
        ("DEEP_REVIEW_SCRATCH".to_owned(), text(scratch)),
        (
            "DEEP_REVIEW_BASE".to_owned(),
            context.pinned.target.base.clone(),
        ),
        (
            "DEEP_REVIEW_HEAD".to_owned(),
            context.pinned.target.head.clone(),
        ),
        ("NO_COLOR".to_owned(), "1".to_owned()),
        ("CARGO_TERM_COLOR".to_owned(), "never".to_owned()),
    ];
    if reviewer.is_exact() {
        // rustup would download the toolchain that a file of the repository names.
        set.push(("RUSTUP_AUTO_INSTALL".to_owned(), "0".to_owned()));
    }
    if reviewer.executes() {
        // Builds of earlier rounds are reused.
        let target = context.cache.join(crate::state::slug(&reviewer.name));
        set.push(("CARGO_TARGET_DIR".to_owned(), text(&target)));
    }
    let files = context
        .pinned
        .diff
        .files
        .iter()
        .filter(|file| file.is_file() && reviewer.wants(&file.path));
    let argv: Vec<String> = reviewer
        .argv()
        .into_iter()
        .flat_map(|word| {
            if reviewer.looks_at_files() && word == "{files}" {
                // With `./`, a file name that begins with a dash is not read as an option.
                files
                    .clone()
                    .map(|file| format!("./{}", file.path))
                    .collect()
            } else {
                vec![word]
            }
        })
        .collect();
    let argv = match context.shared(reviewer) {
        Some(pristine) if is_there(&argv) => pristine.argv(&reviewer.name, work, argv),
        // If the program is not installed, starting it directly gives the best error.
        _ => argv,
    };
    let show: Show = {
        let (progress, redactor) = (context.progress.clone(), context.redactor.clone());
        let name = reviewer.name.clone();
        Arc::new(move |action: &str| progress.show(&name, State::Working, &redactor.clean(action)))
    };
    let answer = attempt::ask(
        Question {
            reviewer,
            argv,
            prompt,
            folder: work,
            inherit: inherited(reviewer),
            set,
            timeout,
        },
        show,
    )
    .await;
    // Background processes that the reviewer left are killed with its tree.
    if let Err(error) = tree::kill_tree_async(&Tree::marked(mark), Duration::ZERO).await {
        tracing::warn!(reviewer = reviewer.name, %error, "what a reviewer left cannot be killed");
    }
    answer
}

/// Returns whether the command's program can be found.
fn is_there(argv: &[String]) -> bool {
    let Some(program) = argv.first() else {
        return false;
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    match Path::new(program).is_absolute() {
        true => Path::new(program).exists(),
        false => program.contains('/') || detect::find(program, &path).is_some(),
    }
}

fn usable(
    context: &RunContext,
    reviewer: &Reviewer,
    work: &Path,
    answer: Answer,
) -> Result<Usable, Outcome> {
    if answer.missing {
        return Err(Outcome::Missing {
            reason: answer.trouble.unwrap_or_default(),
        });
    }
    let original = context.redactor.clean(&answer.said.text);
    let clean = |text: &str| one_line(&context.redactor.clean(text), 800);
    let mut troubles: Vec<String> = Vec::new();
    troubles.extend(answer.said.error.as_deref().map(clean));
    troubles.extend(answer.trouble.as_deref().map(clean));
    let failed = |reason: String| {
        let mut reasons = vec![reason];
        reasons.extend(troubles.clone());
        if !answer.stderr.is_empty() {
            reasons.push(format!("it complained: {}", clean(&answer.stderr)));
        }
        Err(Outcome::Failed {
            reason: reasons.join("; "),
        })
    };
    let mut review = match parse::parse(reviewer.format, &reviewer.name, original.as_bytes()) {
        Ok(review) => review,
        Err(reason) => return failed(reason.to_string()),
    };
    review.analyser |= reviewer.is_exact();
    let errs = answer.said.error.is_some();
    if reviewer.is_exact() {
        // An analyser that could not run (a build without its dependencies) has no findings, too.
        if review.findings.is_empty() && !troubles.is_empty() {
            return failed("it found nothing, and did not end well".to_owned());
        }
        // Analysers report findings by their exit status.
        if !answer.cut && !errs {
            troubles.clear();
        }
    }
    if reviewer.looks_at_files() {
        only_changed(context, work, &mut review);
    }
    if reviewer.is_exact() {
        let effects = review::settings::effects(&context.pinned.diff);
        review.concerns.extend(effects.into_iter().map(|text| Note {
            text,
            reviewers: Vec::new(),
        }));
    }
    // An answer is complete only if the agent exited normally: an agent that crashed may have had more findings.
    let outcome = match troubles.is_empty() {
        true => Outcome::Finished { warning: None },
        false => Outcome::Partial {
            reason: troubles.join("; "),
        },
    };
    Ok((outcome, review, original))
}

/// Removes findings in files that the change does not touch: an analyser of the whole workspace reports these, too.
fn only_changed(context: &RunContext, work: &Path, review: &mut Review) {
    let before = review.findings.len();
    review.findings.retain(|finding| {
        finding.locations.first().is_none_or(|place| {
            let path = review::verify::place::inside(&place.path, &[work]);
            context.pinned.diff.file(&path).is_some()
        })
    });
    review.left_out = before - review.findings.len();
}
