//! Agents that speak the Agent Client Protocol: Gemini CLI, and Claude Code through its adapter.

use std::path::Path;

use serde_json::json;

use crate::cage::{Run, assert_ran_nothing, assert_read, caged, trace};
use crate::model::{Model, Turn};
use crate::repository::{REVIEW, Repository};
use crate::{claude, gemini};

fn gemini<'a>(repository: &'a Repository, program: &Path, model: &Model) -> Run<'a> {
    let program = program.to_str().unwrap();
    let command = [program, "--acp", "--model", "gemini-scripted"];
    Run {
        repository,
        kind: "acp",
        command: command.map(String::from).to_vec(),
        more: "env = [\"GEMINI_API_KEY\", \"GOOGLE_GEMINI_BASE_URL\"]\n",
        environment: gemini::environment(repository, model),
    }
}

fn claude<'a>(repository: &'a Repository, program: &Path, model: &Model) -> Run<'a> {
    Run {
        repository,
        kind: "acp",
        command: vec![program.to_str().unwrap().to_owned()],
        more: "env = [\"ANTHROPIC_API_KEY\", \"ANTHROPIC_BASE_URL\"]\n",
        environment: vec![
            ("ANTHROPIC_BASE_URL", model.url()),
            ("ANTHROPIC_API_KEY", "scripted-key".to_owned()),
        ],
    }
}

#[test]
fn real_gemini_cli_over_acp_with_a_scripted_model_reads_and_reviews() {
    let test = "acp::real_gemini_cli_over_acp_with_a_scripted_model_reads_and_reviews";
    caged(test, "gemini", |program| {
        let repository = Repository::new();
        let read = Turn::Call("read_file", json!({"file_path": "src/count.py"}));
        let model = Model::start(&[read, Turn::Say(REVIEW)]);
        let run = gemini(&repository, program, &model).review();
        assert_read(&model);
        assert_eq!(run.performance.tool_calls, [("read".to_owned(), 1)]);
    });
}

#[test]
fn real_gemini_cli_over_acp_with_a_scripted_model_runs_nothing_of_the_change() {
    let test = "acp::real_gemini_cli_over_acp_with_a_scripted_model_runs_nothing_of_the_change";
    caged(test, "gemini", |program| {
        let repository = Repository::new();
        gemini::tempt(&repository);
        let run = json!({"command": trace(&repository, "tool")});
        let model = Model::start(&[Turn::Call("run_shell_command", run), Turn::Say(REVIEW)]);
        gemini(&repository, program, &model).review();
        assert_eq!(model.asked().len(), 2);
        assert_ran_nothing(&repository);
    });
}

#[test]
fn real_claude_over_acp_with_a_scripted_model_reads_and_reviews() {
    let test = "acp::real_claude_over_acp_with_a_scripted_model_reads_and_reviews";
    caged(test, "claude-code-acp", |program| {
        let repository = Repository::new();
        let read = Turn::Call("Bash", json!({"command": "cat src/count.py"}));
        let model = Model::start(&[read, Turn::Say(REVIEW)]);
        let run = claude(&repository, program, &model).review();
        assert_read(&model);
        assert_eq!(run.performance.tool_calls, [("execute".to_owned(), 1)]);
    });
}

#[test]
fn real_claude_over_acp_with_a_scripted_model_runs_nothing_of_the_change() {
    let test = "acp::real_claude_over_acp_with_a_scripted_model_runs_nothing_of_the_change";
    caged(test, "claude-code-acp", |program| {
        let repository = Repository::new();
        claude::tempt(&repository);
        let run = json!({"command": trace(&repository, "tool")});
        let model = Model::start(&[Turn::Call("Bash", run), Turn::Say(REVIEW)]);
        claude(&repository, program, &model).review();
        assert_eq!(model.asked().len(), 2);
        assert_ran_nothing(&repository);
    });
}
