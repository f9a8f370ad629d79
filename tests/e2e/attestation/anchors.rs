//! Sets of anchors: imported, followed by every server that runs, removed.

use std::fs;

use openssl::x509::X509Ref;
use serde_json::{Value, json};

use super::{REFUSED, batch, listed, pem, register, tenant_with, until};
use crate::{
    commands::{ask, refusal},
    engines,
    support::{
        authenticator::Format,
        certificates::Maker,
        keys::Algorithm,
        postgres::Server as Postgres,
        server::{Server, text},
    },
};

engines! { a_running_server_follows }

/// A root, an intermediate and a leaf are anchors, each as good as the others; a set that is imported again replaces what was in it.
async fn a_running_server_follows(server: Server) {
    let maker = Maker::with_intermediate();
    let requiring = |set: &str| tenant_with(&server, &json!({"trust": "require", "anchors": [set]}));
    let tenants = ["roots", "intermediates", "leaves"].map(requiring);
    let ours = batch(&tenants[0], &maker);
    let mut draft = tenants[0].draft("ann", Format::PackedX5c, Algorithm::Es256).await;
    ours(&mut draft);
    let (leaf, intermediate) = (draft.certificate.unwrap(), maker.intermediate().unwrap());
    let anchors: [(&str, &X509Ref, usize); 3] = [("roots", &maker.root, 3), ("intermediates", intermediate, 2), ("leaves", &leaf, 1)];

    for tenant in &tenants {
        let (_, answer) = register(tenant, Format::PackedX5c, &ours).await;
        assert!(answer.problem(400, REFUSED).contains("(no anchors)"));
    }
    let import = |set: &str, certificate: &X509Ref| {
        let file = pem(&server, "anchors.pem", &[certificate]);
        ask(&server, &["anchors", "import", set, file.to_str().unwrap()])
    };
    let imported = anchors.map(|(set, certificate, _)| import(set, certificate));
    for ((tenant, imported), (set, _, length)) in tenants.iter().zip(imported).zip(anchors) {
        assert_eq!((&imported["set"], imported["certificates"].as_array().unwrap().len()), (&json!(set), 1), "{imported}");
        let (id, _) = until(tenant, 200, Format::PackedX5c, &ours).await;
        let record = listed(&server, tenant, &id)["attestation"].clone();
        let path = record["path"].as_array().unwrap();
        assert_eq!((path.len(), &record["anchors"]), (length, &json!(set)), "{record}");
        assert_eq!(path.last().unwrap()["sha256"], imported["certificates"][0]["sha256"], "{record}");
    }

    // One is gone; in another there is somebody else's; the third is as it was.
    ask(&server, &["anchors", "remove", "intermediates"]);
    import("roots", &Maker::new().root);
    let expected = ["x5c does not lead to a trust anchor", "looked in intermediates (no anchors)"];
    for (tenant, expected) in tenants.iter().zip(expected) {
        let (_, answer) = until(tenant, 400, Format::PackedX5c, &ours).await;
        assert!(answer.problem(400, REFUSED).contains(expected), "{}", answer.body);
    }
    assert_eq!(register(&tenants[2], Format::PackedX5c, &ours).await.1.status, 200);
}

/// Each server has its own token and its own tenants; what they may trust is one thing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_database_follow() {
    let url = Postgres::shared().empty_database().await;
    let one = Server::on(&url).await;
    let other = one.beside().await;
    let maker = Maker::new();
    let demand = json!({"trust": "require", "anchors": ["ours"]});
    let tenant = tenant_with(&one, &demand);
    let tenants = [tenant.at(other.api()), tenant];
    let file = pem(&one, "ours.pem", &[&maker.root]);
    ask(&one, &["anchors", "import", "ours", file.to_str().unwrap()]);
    for tenant in &tenants {
        until(tenant, 200, Format::Apple, |draft| draft.maker = maker.clone()).await;
    }
    ask(&one, &["anchors", "remove", "ours"]);
    for tenant in &tenants {
        until(tenant, 400, Format::Apple, |draft| draft.maker = maker.clone()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_are_imported_listed_and_removed() {
    let server = Server::sqlite().await;
    assert_eq!(ask(&server, &["anchors", "list"]), json!([]));
    assert!(text(&server.cli(&["anchors", "list"])).starts_with("No anchors are imported"));
    let (maker, other) = (Maker::with_intermediate(), Maker::new());
    let both = pem(&server, "both.pem", &[&maker.root, maker.intermediate().unwrap()]);
    let one = pem(&server, "one.pem", &[&other.root]);
    let imported = ask(&server, &["anchors", "import", "ours", both.to_str().unwrap()]);
    let member =
        |name: &str| imported["certificates"].as_array().unwrap().iter().map(|c| c[name].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let subjects = ["Example Root 1", "Example Intermediate 1"].map(|name| format!("C=AT, O=Example Authenticators, CN={name}"));
    assert_eq!(member("subject"), subjects);
    assert!(member("not_after").iter().all(|end| end == "Jan  1 00:00:00 2100 GMT"), "{imported}");

    // From standard input, for people.
    let said = server.cli_fed(&fs::read(&one).unwrap(), &[], &["anchors", "import", "a-2", "-"]);
    assert!(said.status.success() && text(&said).contains("Servers take them within seconds."), "{}", text(&said));
    let sets = ask(&server, &["anchors", "list"]);
    let names = |sets: &Value| sets.as_array().unwrap().iter().map(|set| set["set"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&sets), ["a-2", "ours"]);
    let mut listed: Vec<_> = sets[1]["certificates"].as_array().unwrap().iter().map(|c| c["sha256"].as_str().unwrap().to_owned()).collect();
    let mut expected = member("sha256");
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let table = text(&server.cli(&["anchors", "list"]));
    assert!(table.starts_with("SET") && expected.iter().all(|sha256| table.contains(&sha256[..16])), "{table}");

    // What cannot be imported changes nothing.
    let bad = server.folder.path().join("bad.pem");
    let cut = fs::read(&one).unwrap();
    let half = [&fs::read(&both).unwrap()[..], &cut[..cut.len() / 2]].concat();
    for (contents, expected) in [
        (&b""[..], "bad.pem: not an X.509 certificate"),
        (b"\xff\x00junk", "bad.pem: not an X.509 certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "bad.pem: not an X.509 certificate"),
        (&half, "bad.pem: not an X.509 certificate"),
    ] {
        fs::write(&bad, contents).unwrap();
        let said = refusal(&server, 2, &["anchors", "import", "ours", bad.to_str().unwrap()]);
        assert!(said.ends_with(expected), "{said}");
    }
    let path = both.to_str().unwrap();
    assert!(refusal(&server, 2, &["anchors", "import", "ours", "/nowhere.pem"]).starts_with("/nowhere.pem: "));
    for (name, expected) in
        [("mds", "the name mds means"), ("Ours", "1 to 64 of the characters"), ("", ""), ("a b", "1 to 64"), (&"a".repeat(65), "1 to 64")]
    {
        assert!(refusal(&server, 2, &["anchors", "import", name, path]).contains(expected), "{name}");
    }
    assert_eq!(ask(&server, &["anchors", "list"]), sets);

    assert_eq!(refusal(&server, 1, &["anchors", "remove", "absent"]), "there is no set of anchors absent");
    assert_eq!(ask(&server, &["anchors", "remove", "ours"]), json!({"removed": "ours"}));
    assert_eq!(refusal(&server, 1, &["anchors", "remove", "ours"]), "there is no set of anchors ours");
    let removed = server.cli(&["anchors", "remove", "a-2"]);
    assert_eq!((removed.status.code(), String::from_utf8_lossy(&removed.stdout).as_ref()), (Some(0), "Removed a-2.\n"));
    assert_eq!(ask(&server, &["anchors", "list"]), json!([]));
}
