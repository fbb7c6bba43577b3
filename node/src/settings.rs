//! `monai.toml`: the options of every command under its name.

use crate::cli::{
    ChatOptions, DevnetOptions, GlobalOptions, LogFormat, NodeOptions, ProxyOptions, SequencerOptions,
};
use crate::error::{Error, FileContext as _, Result};
use crate::home::Home;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The file's content. Unknown keys are errors: a mistyped limit must not be ignored.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// `MONAI_HOME`.
    pub home: Option<PathBuf>,
    /// Log filter.
    pub log: Option<String>,
    /// Log format.
    pub log_format: Option<LogFormat>,
    /// `monai devnet`
    pub devnet: DevnetOptions,
    /// `monai node`
    pub node: NodeOptions,
    /// `monai sequencer`
    pub sequencer: SequencerOptions,
    /// `monai chat`
    pub chat: ChatOptions,
    /// `monai proxy`
    pub proxy: ProxyOptions,
}

impl Settings {
    /// Reads the file that the options name, else `./monai.toml`, else `MONAI_HOME/monai.toml`, else
    /// nothing. Returns the home folder too, which the file may name.
    ///
    /// # Errors
    /// A named file that is absent; any file that is not right.
    pub fn load(global: &GlobalOptions) -> Result<(Self, Home)> {
        let early = Home::find(global.home.clone())?;
        let candidates = [PathBuf::from("monai.toml"), early.root().join("monai.toml")];
        let path = match &global.config {
            Some(path) => Some(path.clone()),
            None => candidates.into_iter().find(|p| p.is_file()),
        };
        let Some(path) = path else { return Ok((Self::default(), early)) };
        let settings = Self::read(&path)?;
        let home = Home::find(global.home.clone().or_else(|| settings.home.clone()))?;
        Ok((settings, home))
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at(path)?;
        toml::from_str(&text).map_err(|e| Error::Malformed { path: path.to_path_buf(), what: e.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command, Layered as _};
    use clap::Parser as _;

    fn node(args: &[&str], file: &str) -> NodeOptions {
        let cli = Cli::try_parse_from(["monai", "node"].iter().chain(args)).unwrap();
        let settings: Settings = toml::from_str(file).unwrap();
        match cli.command {
            Command::Node(o) => o.or(settings.node),
            _ => unreachable!(),
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "[node]\nthreads = 2\nmax-streams = 5\nsequencer = [\"ws://file\"]\nengine = \"candle\"";
        let o = node(&["--threads", "4"], file);
        assert_eq!((o.threads, o.max_streams), (Some(4), Some(5)));
        assert_eq!(o.sequencer, ["ws://file"]);
        assert_eq!(o.engine, Some(crate::cli::EngineKind::Candle));
        let o = node(&["--sequencer", "ws://flag"], file);
        assert_eq!(o.sequencer, ["ws://flag"]);
    }

    #[test]
    fn mistyped_keys_are_errors() {
        assert!(toml::from_str::<Settings>("[node]\nmax_streams = 5").is_err());
        assert!(toml::from_str::<Settings>("[nodes]\nthreads = 5").is_err());
    }

    #[test]
    fn the_file_can_name_the_home() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.toml");
        std::fs::write(&path, "home = \"/elsewhere\"\n[chat]\nurl = \"http://u\"").unwrap();
        let global = GlobalOptions { config: Some(path), ..Default::default() };
        let (settings, home) = Settings::load(&global).unwrap();
        assert_eq!(home.root(), Path::new("/elsewhere"));
        assert_eq!(settings.chat.url.as_deref(), Some("http://u"));
        let global = GlobalOptions { config: Some(dir.path().join("absent")), ..Default::default() };
        assert!(Settings::load(&global).is_err());
    }
}
