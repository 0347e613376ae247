//! Tests the console of a local stack: over the wire, as a script and as another site would, and in a real browser.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "console/browser.rs"]
mod browser;

use std::{
    fs,
    io::{BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use self::browser::Browser;

const HOOKS: &str = env!("CARGO_BIN_EXE_xendit-hooks");

/// A body of which each part tries to run a script, in each place where a page shows something.
const HOSTILE: &str = r#"{"id":"<img src=x onerror=pwned=1>","external_id":"\"><script>pwned=1</script>","user_id":"u","merchant_name":"'-pwned=1-'","status":"PAID","amount":10.10,"paid_amount":10.10,"currency":"IDR","description":"</pre></script><svg/onload=pwned=1>","link":"http://127.0.0.1:9/never","<b onmouseover=pwned=1>key":"javascript:pwned=1"}"#;

/// A running local stack.
struct Stack {
    child: Child,
    url: String,
    token: String,
    console: String,
    console_token: String,
}

impl Stack {
    /// Starts a stack, and waits until it has processed the bundled webhooks.
    fn start() -> Self {
        let mut child = Command::new(HOOKS)
            .args(["dev", "--json", "--port", "0"])
            .current_dir(root())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(Ok(ready)) = lines.next() else {
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("the stack did not start:\n{errors}");
        };
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("no {key}: {ready}")).to_owned();
        let (console, console_token) =
            text("console_url").split_once("/?token=").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let samples = fs::read_dir(root().join("events/webhooks")).unwrap().count();
        assert_eq!(lines.by_ref().take(samples).map_while(Result::ok).count(), samples);
        // Nobody may have to wait for this to be read.
        std::thread::spawn(move || lines.for_each(drop));
        Self { url: text("url"), token: text("token"), child, console, console_token }
    }

    /// Sends a webhook, and returns the delivery's id.
    fn send(&self, topic: &str, body: &str) -> String {
        let request = agent().post(format!("{}{topic}", self.url)).header("x-callback-token", &self.token);
        let request =
            request.header("content-type", "application/json").header("user-agent", "<script>pwned=1</script>");
        let answer: Value =
            serde_json::from_str(&request.send(body).unwrap().body_mut().read_to_string().unwrap()).unwrap();
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Asks the API, as a script does.
    fn get(&self, path: &str) -> Value {
        let request = agent()
            .get(format!("{}{path}", self.console))
            .header("authorization", format!("Bearer {}", self.console_token));
        serde_json::from_str(&request.call().unwrap().body_mut().read_to_string().unwrap()).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let request = agent()
            .post(format!("{}{path}", self.console))
            .header("authorization", format!("Bearer {}", self.console_token));
        let mut response = request.header("content-type", "application/json").send(body.to_string()).unwrap();
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Waits until the fate of a delivery is known.
    fn concluded(&self, id: &str) -> Value {
        let start = Instant::now();
        loop {
            let details = self.get(&format!("/api/deliveries/{id}"));
            if details["fate"] != "waiting" && details["fate"].is_string() {
                return details;
            }
            assert!(start.elapsed() < Duration::from_mins(1), "{id} is still waiting: {details}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The status of a request with only these headers.
    fn status(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let builder = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.console));
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        agent().run(builder.body(()).unwrap()).unwrap().status().as_u16()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn invoice(id: &str, status: &str, more: &str) -> String {
    format!(
        r#"{{"id":"{id}","external_id":"order-{id}","user_id":"62440e322008e87fb29c1fd0","merchant_name":"m","status":"{status}","amount":50000,"currency":"IDR"{more}}}"#
    )
}

#[test]
fn the_console_answers_only_its_owner() {
    let stack = Stack::start();
    let cookie = format!("console-{}={}", stack.console.rsplit(':').next().unwrap(), stack.console_token);
    let (cookie, origin) = (("cookie", cookie.as_str()), ("origin", stack.console.as_str()));
    let id = stack.send("/invoice", &invoice("safe", "PAID", r#","paid_amount":50000"#));
    stack.concluded(&id);
    let (page, resend) = (format!("/deliveries/{id}"), format!("/api/deliveries/{id}/resend"));
    let paths = [
        "/",
        "/parked",
        "/send",
        "/api/deliveries",
        "/api/stream",
        "/api/samples",
        "/assets/console.js",
        "/none",
        &page,
    ];

    for path in paths {
        assert_eq!(stack.status("GET", path, &[]), 403, "{path} without a token");
        assert_eq!(stack.status("GET", path, &[("host", "evil.test:80"), cookie]), 403, "{path} of another host");
        let embedded = [cookie, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
        assert_eq!(stack.status("GET", path, &embedded), 403, "{path} inside another site");
    }
    assert_eq!(stack.status("GET", "/?token=wrong", &[]), 403);
    assert_eq!(stack.status("GET", &format!("/?token={}", stack.console_token), &[]), 303);
    for path in [page.as_str(), "/", "/send", "/api/deliveries", "/assets/console.css"] {
        assert_eq!(stack.status("GET", path, &[cookie]), 200, "{path} with the cookie");
    }
    let before = stack.get("/api/deliveries")["kept"].clone();
    for headers in [&[cookie, ("origin", "http://evil.test")][..], &[cookie], &[origin], &[cookie, ("origin", "null")]]
    {
        for path in [resend.as_str(), &format!("{page}/resend"), "/send", "/api/send"] {
            assert_eq!(stack.status("POST", path, headers), 403, "{path} {headers:?}");
        }
    }
    assert_eq!(stack.get("/api/deliveries")["kept"], before, "a refused write sends nothing");
    assert_eq!(stack.status("POST", &resend, &[cookie, origin]), 200);
}

#[test]
fn the_api_tells_what_became_of_each_webhook_and_why() {
    let stack = Stack::start();
    let paid = invoice("api", "PAID", r#","paid_amount":50000"#);
    let fates = [
        (invoice("api", "EXPIRED", ""), "applied", Value::Null),
        (paid.clone(), "applied", json!(["invoice.paid"])),
        (paid.clone(), "duplicate", json!([])),
        (invoice("api", "EXPIRED", ""), "stale", json!([])),
        (invoice("api", "PAID", r#","paid_amount":1"#), "conflict", json!(["webhook.conflict"])),
        (r#"{"event":"payment.suceeded","data":{"id":"p"}}"#.to_owned(), "unknown", json!(["webhook.unknown"])),
        ("not JSON".to_owned(), "parked", json!([])),
    ];
    let mut ids = Vec::new();
    for (body, fate, published) in &fates {
        let id = stack.send("", body);
        let details = stack.concluded(&id);
        assert_eq!(details["fate"], *fate, "{details}");
        assert!(published.is_null() || details["published"] == *published, "{details}");
        assert_eq!(details["body"], *body);
        ids.push(id);
    }
    let of = |index: usize| stack.get(&format!("/api/deliveries/{}", ids[index]));
    let change = |details: &Value, name: &str| {
        details["changes"].as_array().unwrap().iter().find(|it| it["name"] == name).cloned()
    };
    let stage = json!({ "name": "stage", "before": "invoice.expired", "after": "invoice.paid" });
    assert_eq!(change(&of(1), "stage"), Some(stage));
    assert_eq!(change(&of(4), "paid").unwrap()["after"], "IDR 50000 ≠ IDR 1");
    assert!(of(2)["changes"].as_array().unwrap().is_empty());
    assert_eq!(of(5)["reading"]["recognised_by"]["nearest"], "payment.succeeded");
    assert_eq!(of(6)["reason"], "the body is not JSON");
    assert!(of(1)["curl"].as_str().unwrap().contains("$XENDIT_CALLBACK_TOKEN"));
    assert!(!of(1).to_string().contains(&stack.token), "the token is not shown");

    let story = stack.get("/api/story?key=test%23invoice%23api");
    let steps: Vec<_> = story["steps"].as_array().unwrap().iter().map(|step| step["id"].as_str().unwrap()).collect();
    assert_eq!(steps, ids[..5].iter().collect::<Vec<_>>());
    assert_eq!(story["is_complete"], true);
    let compared = stack.get(&format!("/api/compare?a={}&b={}", ids[1], ids[4]));
    assert_eq!(compared["differences"], json!([{ "path": "paid_amount", "before": "50000", "after": "1" }]));
    assert_eq!(stack.get("/api/deliveries?fate=parked")["deliveries"][0]["id"], ids[6].as_str());
    let found = stack.get("/api/deliveries?q=order-api%20EXPIRED");
    assert_eq!(found["deliveries"].as_array().unwrap().len(), 2, "{found}");

    let resent = stack.post(&format!("/api/deliveries/{}/resend", ids[1]), &json!({}));
    let again = stack.concluded(resent["delivery"].as_str().unwrap());
    assert!(again["fate"] == "duplicate" && again["body"] == paid.as_str(), "{again}");
    let sent = stack.post("/api/send", &json!({ "sample": "invoice.paid" }));
    assert_eq!(stack.concluded(sent["delivery"].as_str().unwrap())["path"], "/webhook/invoice");
}

/// The lowest contrast of a text with what is behind it, as `ratio text`.
const CONTRAST: &str = r#"(() => {
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = channels(color).map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const color = getComputedStyle(it).backgroundColor, alpha = channels(color)[3];
      if (alpha === undefined || alpha === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let least = [99, ""];
  while (texts.nextNode()) {
    const it = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !it.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(it).color), light(behind(it))].sort((a, b) => b - a);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least[0]) least = [ratio, it.outerHTML.slice(0, 200)];
  }
  return least[0] >= 4.5 ? "" : least.join(" ");
})()"#;

/// Elements that only an injected body can have brought.
const INJECTED: &str = r#"document.querySelectorAll("img, svg, b, [onload], [onerror], [onmouseover], script:not([src='/assets/console.js']), a[href^='javascript']").length"#;

#[test]
fn the_pages_are_live_and_safe_and_led_by_the_keyboard() {
    let stack = Stack::start();
    let mut browser = Browser::start();
    let hostile = stack.send("/invoice", HOSTILE);
    stack.concluded(&hostile);
    let unreadable = stack.send("", "<script>pwned=1</script> is not JSON");
    stack.concluded(&unreadable);
    let ids = [
        invoice("7", "EXPIRED", ""),
        invoice(
            "7",
            "PAID",
            r#","paid_amount":50000,"payment_method":"BANK_TRANSFER","paid_at":"2030-01-02T03:04:05Z""#,
        ),
        invoice(
            "7",
            "PAID",
            r#","paid_amount":40000,"payment_method":"BANK_TRANSFER","paid_at":"2030-01-02T03:04:05Z""#,
        ),
        invoice("7", "EXPIRED", ""),
        r#"{"event":"payment.suceeded","data":{"id":"zq-1","status":"SUCCEEDED"}}"#.to_owned(),
    ]
    .map(|body| {
        let id = stack.send("", &body);
        stack.concluded(&id);
        id
    });

    // The link lets in, and its token is not in the address any more.
    browser.look(1200, 900, "light");
    browser.open(&format!("{}/?token={}", stack.console, stack.console_token));
    assert_eq!(browser.value("location.href"), format!("{}/", stack.console));
    assert_eq!(browser.value("document.cookie"), "", "no script may read the cookie");

    // A webhook appears by itself, at the top, and then its fate.
    browser.wait_for("document.querySelector('#live').textContent === 'live'");
    browser.value("window.same = 1");
    let live = stack.send("", &invoice("live", "PAID", r#","paid_amount":50000"#));
    browser.wait_for(&format!("document.querySelector('.row a').href.endsWith('{live}')"));
    browser.wait_for("document.querySelector('.row .fate').textContent === 'applied'");
    browser.wait_for("document.querySelector('.row .outcome').textContent.includes('invoice.paid')");
    assert_eq!(browser.value("window.same"), 1, "the page was not loaded again");

    // The keyboard.
    browser.press("j");
    browser.press("j");
    browser.press("j");
    browser.press("k");
    assert_eq!(browser.value("[...document.querySelectorAll('.row a')].indexOf(document.activeElement)"), 1);
    browser.press("Enter");
    browser.wait_for(&format!("location.pathname === '/deliveries/{}'", ids[4]));
    browser.press("j");
    browser.wait_for(&format!("location.pathname === '/deliveries/{}'", ids[3]));
    browser.press("t");
    browser.wait_for("location.pathname === '/story'");
    browser.press("u");
    browser.wait_for("location.pathname === '/' && document.querySelector('#search')");
    browser.press("?");
    browser.wait_for("document.querySelector('#help').open");
    browser.press("Escape");
    browser.value("document.querySelector('#help').close()");
    browser.press("/");
    assert_eq!(browser.value("document.activeElement.id"), "search");
    for key in ["z", "q", "-", "1"] {
        browser.press(key);
    }
    browser.wait_for("document.querySelectorAll('.row').length === 1 && location.search === '?q=zq-1'");
    browser.press("Enter");
    browser.press("Enter");
    browser.wait_for(&format!("location.pathname === '/deliveries/{}'", ids[4]));
    browser.press("r");
    browser.wait_for(&format!(
        "location.pathname.startsWith('/deliveries/') && !location.pathname.endsWith('{}')",
        ids[4]
    ));
    browser.wait_for("document.querySelector('.title .fate').textContent === 'duplicate'");

    assert_pages_are_sound(&stack, &mut browser, &ids, [&hostile, &unreadable]);
    // Even a script that got into a page would not run.
    let inline =
        "document.head.append(Object.assign(document.createElement('script'), { textContent: 'window.pwned = 1' }))";
    browser.value(inline);
    assert_eq!(browser.value("typeof pwned"), "undefined");
    for event in &browser.events {
        assert_ne!(event["method"], "Page.javascriptDialogOpening", "{event}");
        assert_ne!(event["method"], "Runtime.exceptionThrown", "{event}");
        if event["method"] == "Network.requestWillBeSent" {
            let url = event["params"]["request"]["url"].as_str().unwrap();
            assert!(url.starts_with(&stack.console), "the page loaded {url}");
        }
    }
}

/// Nothing in a body runs or loads anything, nothing is wider than a phone, and everything can be read.
fn assert_pages_are_sound(stack: &Stack, browser: &mut Browser, ids: &[String], [hostile, unreadable]: [&str; 2]) {
    let key = |id: &str| stack.get(&format!("/api/deliveries/{id}"))["key"].as_str().unwrap().to_owned();
    let story = |id: &str| format!("/story?key={}", percent(&key(id)));
    let pages = [
        ("list", "/".to_owned()),
        ("delivery", format!("/deliveries/{}", ids[1])),
        ("story", story(&ids[1])),
        ("compare", format!("/compare?a={}&b={}", ids[1], ids[2])),
        ("parked", "/parked".to_owned()),
        ("find", "/find?reference=order-7".to_owned()),
        ("send", "/send".to_owned()),
        ("hostile delivery", format!("/deliveries/{hostile}")),
        ("hostile story", story(hostile)),
        ("hostile comparison", format!("/compare?a={hostile}&b={}", ids[1])),
        ("unreadable", format!("/deliveries/{unreadable}")),
        ("hostile find", format!("/find?reference={}", percent("\"><script>pwned=1</script>"))),
        ("hostile search", format!("/?q={}", percent("\"><script>pwned=1</script>"))),
        ("nothing", "/nothing".to_owned()),
    ];
    for (name, path) in &pages {
        browser.look(1200, 900, "light");
        browser.open(&format!("{}{path}", stack.console));
        assert_page_is_sound(browser, name);
    }
}

fn assert_page_is_sound(browser: &mut Browser, name: &str) {
    assert_eq!(browser.value("typeof pwned"), "undefined", "{name}");
    assert_eq!(browser.value(INJECTED), 0, "{name}");
    for scheme in ["light", "dark"] {
        browser.look(360, 740, scheme);
        assert_eq!(browser.value("document.documentElement.scrollWidth"), 360, "{name} is wider than a phone");
        assert_eq!(browser.value(CONTRAST), "", "{name} in {scheme} is hard to read");
    }
}

/// Not a test: it needs a stack of its own, without the hostile bodies.
#[test]
#[ignore = "`make screenshots` runs it: it writes the pictures in docs/console"]
fn write_the_screenshots() {
    let stack = Stack::start();
    let mut browser = Browser::start();
    let send = |topic: &str, body: &str| {
        let id = stack.send(topic, body);
        stack.concluded(&id);
        id
    };
    let paid = |amount: u32| {
        let more = format!(r#","paid_amount":{amount},"payment_channel":"MANDIRI","paid_at":"2030-01-02T03:04:05Z""#);
        invoice("6748105a77f16ebe", "PAID", &more)
    };
    let capture = fs::read_to_string(root().join("events/webhooks/payment.capture.json")).unwrap();
    send("", "--boundary\r\nnot JSON");
    send("", r#"{"event":"payment.suceeded","data":{"id":"py-1","status":"SUCCEEDED"}}"#);
    send("/invoice", &invoice("6748105a77f16ebe", "EXPIRED", ""));
    let first = send("/invoice", &paid(50000));
    send("/invoice", &paid(50000));
    let other = send("/invoice", &paid(40000));
    send("", r#"{"event":"#);
    send("", "");
    let captured = send("", &capture.replace("1402feb0", "7402feb0").replace("1502feb0", "7502feb0"));

    let key = stack.get(&format!("/api/deliveries/{first}"))["key"].as_str().map(percent).unwrap();
    let delivery = format!("/deliveries/{captured}");
    let pictures = [
        ("list", "/", 1200, 720, "light"),
        ("list-dark", "/", 1200, 720, "dark"),
        ("list-360", "/", 360, 740, "light"),
        ("delivery", &delivery, 1200, 700, "light"),
        ("story", &format!("/story?key={key}"), 1200, 800, "light"),
        ("compare", &format!("/compare?a={first}&b={other}"), 1200, 360, "light"),
        ("parked", "/parked", 1200, 420, "light"),
        ("send", "/send", 1200, 800, "light"),
    ];
    browser.look(1200, 800, "light");
    browser.open(&format!("{}/?token={}", stack.console, stack.console_token));
    for (name, path, width, height, scheme) in pictures {
        browser.look(width, height, scheme);
        browser.open(&format!("{}{path}", stack.console));
        browser.wait_for("!document.querySelector('#live') || document.querySelector('#live').textContent === 'live'");
        fs::write(root().join(format!("docs/console/{name}.png")), browser.picture()).unwrap();
    }
}

fn percent(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
