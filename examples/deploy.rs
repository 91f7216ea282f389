//! Deploy and wait: a folder of this machine, served until Enter is pressed.
//!
//! `cargo run -p examples --example deploy -- examples/apps/hello`

use std::path::{Path, PathBuf};

use ployer_core::config::Settings;
use ployer_core::model::NewApplication;
use ployer_core::{Deployed, Ployer, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "examples/apps/hello".to_owned()));
    let ployer = open(Path::new("./data")).await?;
    let engine = ployer.spawn();

    let deployed = deploy(&ployer, &folder).await?;
    println!("{} until Enter is pressed", deployed.url());
    std::io::stdin().read_line(&mut String::new()).ok();

    engine.stop().await?;
    ployer.stop_applications().await
}

/// An installation in a directory, that takes folders of this machine and lends its programs the `PATH`.
async fn open(data_dir: &Path) -> Result<Ployer> {
    let mut settings = Settings::default();
    settings.source.allow_local = true;
    let path = std::env::var("PATH").map(|path| ("PATH".to_owned(), path));
    Ployer::builder().data_dir(data_dir).settings(settings).environment(path).build().await
}

/// Makes an application of a folder, and returns once requests reach it.
async fn deploy(ployer: &Ployer, folder: &Path) -> Result<Deployed> {
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let git_url = Some(whole.to_string_lossy().parse()?);
    let site = NewApplication { git_url, ..NewApplication::new("site".parse()?) };
    let application = ployer.applications().create(site).await?;
    ployer.deployments().start(application.id).await?.wait().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_served_once_the_wait_returns() {
        let (data, site) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(site.path().join("index.html"), "hello").unwrap();
        let ployer = open(data.path()).await.unwrap();
        let engine = ployer.spawn();

        let deployed = deploy(&ployer, site.path()).await.unwrap();

        assert!(deployed.url().starts_with("http://site.localhost:"), "{}", deployed.url());
        engine.stop().await.unwrap();
    }
}
