//! Where a journey takes place: one process on embedded engines, or a cluster. A journey does not know
//! which.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tests::{Cluster, Person, Plan, ServerProcess};

use crate::PROGRAM;

/// A running installation and its owner, who is also an auditor.
pub(crate) struct Site {
    url: String,
    /// Olga.
    pub(crate) owner: Person,
    people: AtomicUsize,
    _embedded: Option<ServerProcess>,
    /// Where it is one.
    pub(crate) cluster: Option<Cluster>,
}

impl Site {
    /// One process on embedded engines.
    pub(crate) async fn embedded() -> Self {
        let server = ServerProcess::start(PROGRAM).await;
        let code = std::fs::read_to_string(server.data_dir().join("owner-code")).expect("a code");
        Self {
            url: server.url(),
            owner: owner_of(&server.url(), code.trim()).await,
            people: AtomicUsize::default(),
            _embedded: Some(server),
            cluster: None,
        }
    }

    /// A cluster with its event store on PostgreSQL.
    pub(crate) async fn cluster() -> Self {
        Self::cluster_of(Plan::default()).await
    }

    /// A cluster that is built otherwise.
    pub(crate) async fn cluster_of(plan: Plan) -> Self {
        let cluster = Cluster::start(PROGRAM, plan).await;
        let code = cluster.owner_code(PROGRAM).await;
        Self {
            url: cluster.url(),
            owner: owner_of(&cluster.url(), &code).await,
            people: AtomicUsize::default(),
            _embedded: None,
            cluster: Some(cluster),
        }
    }

    /// Where clients go.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Somebody new who is called `name`.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        Person::register(&self.url, &format!("{name}{number}")).await
    }
}

/// Makes the first owner.
pub(crate) async fn owner_of(url: &str, code: &str) -> Person {
    let owner = Person::register(url, "olga").await;
    let claim = json!({ "code": code });
    owner.post("/v1/owner", claim).await.ok();
    let role = format!("/v1/users/{}/system-roles/auditor", owner.id);
    owner.ask(reqwest::Method::PUT, &role, None, &[]).await.ok();
    owner
}
