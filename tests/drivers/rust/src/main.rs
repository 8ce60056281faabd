//! Every feature of the Rust driver that a replica set answers, one JSON line a step.
//!
//! `features URI DBNAME`

mod crud;
mod cursors;
mod harness;
mod server;
mod sessions;
mod streams;

use bson::Bson;
use harness::Context;

/// Runs the functions named, each under its own name.
#[macro_export]
macro_rules! steps {
    ($context:expr, $($step:ident),* $(,)?) => { $( $context.step(stringify!($step), $step($context)).await; )* };
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> mongodb::error::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, uri, name] = arguments.as_slice() else {
        eprintln!("usage: features URI DBNAME");
        std::process::exit(2);
    };
    let context = Context::new(uri, name).await?;
    // Unprinted: its reply tells whether an earlier run left the database behind.
    context.db.drop().await?;
    server::first(&context).await;
    crud::run(&context).await;
    cursors::run(&context).await;
    streams::run(&context).await;
    sessions::run(&context).await;
    server::last(&context).await;
    context.step("drop_database", async { context.db.drop().await.map(|()| Bson::Null) }).await;
    context
        .step("close", async {
            context.client.clone().shutdown().await;
            Ok(Bson::Null)
        })
        .await;
    Ok(())
}
