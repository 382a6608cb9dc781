//! Load generator and benchmarks.

mod project;

use clap::Parser;

#[derive(Parser)]
enum Figure {
    /// Events a second into the read models.
    Project(project::Options),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let result = match Figure::parse() {
        Figure::Project(options) => project::run(&options).await?,
    };
    #[expect(clippy::print_stdout, reason = "the result is what it is for")]
    {
        println!("{result:#}");
    }
    Ok(())
}
