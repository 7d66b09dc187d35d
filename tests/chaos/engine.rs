//! The engine as a whole: plans that change, explanations, the journal and its replay, effective rates.

use reprise::chaos::{PlanError, Reason, Verdict};

use super::*;

fn request(key: &str) -> Request<'_> {
    Request { key, matched: ALL, elapsed_ms: 0, asked: &[] }
}

/// Rules of every kind, in every selection, with every bound.
fn plans() -> impl Strategy<Value = Plan> {
    let when = (
        proptest::option::of(1..6_u64),
        proptest::option::of(1..4_u64),
        proptest::collection::vec(1..4_u32, 0..2),
        proptest::option::of(1..4_u64),
    )
        .prop_map(|(first, every, attempts, max)| When {
            first,
            every,
            attempts,
            max,
            ..When::default()
        });
    let fault = prop_oneof![Just(error()), Just(delay(1, 1_000)), Just(Fault::KernelKill), Just(Fault::Wire)];
    let rules = proptest::collection::vec((fault, 0.0..=1.0, when), 0..6);
    (rules, any::<bool>(), 0.0..0.5, "[a-z]{1,3}").prop_map(|(rules, exclusive, control, seed)| {
        let rule = |(n, (fault, probability, when)): (usize, (Fault, f64, When))| Rule {
            when,
            ..rule(&format!("rule {n}"), fault, probability)
        };
        let rules = rules.into_iter().enumerate().map(rule).collect();
        let selection = if exclusive { Selection::Exclusive } else { Selection::Independent };
        Plan { control: p(control), ..Plan::new(Seed::from_text(&seed), selection, rules).unwrap() }
    })
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-d]", 0..60)
}

proptest! {
    /// And it counts nothing: the decisions are those of an engine that nobody asks.
    #[test]
    fn an_explanation_is_what_is_then_decided(plan in plans(), keys in keys()) {
        let (asked, unasked) = (Engine::new(plan.clone()), Engine::new(plan.clone()));
        for key in &keys {
            let explained = asked.explain(request(key));
            prop_assert_eq!(&explained, &asked.explain(request(key)));
            let decided = asked.decide(request(key)).decision;
            prop_assert_eq!(explained.decision, decided);
            prop_assert_eq!(decided, unasked.decide(request(key)).decision);
            if let Reason::Rules(verdicts) = explained.reason {
                let fires = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Fires(_))).count();
                let hits = [decided.latency, decided.fault, decided.kill];
                prop_assert_eq!((verdicts.len(), fires), (plan.rules.len(), hits.iter().flatten().count()));
            } else {
                prop_assert_eq!(explained.reason, Reason::Control);
                prop_assert!(decided.is_nothing());
            }
        }
    }

    /// Whatever order the keys come in, and whatever the probabilities have become.
    #[test]
    fn a_replay_does_to_each_request_what_was_recorded_of_it(plan in plans(), keys in keys(), step in 1..50_usize) {
        let recorder = Engine::new(plan.clone());
        recorder.keep_journal(100);
        for key in &keys {
            recorder.decide(request(key));
        }
        let (entries, dropped) = recorder.journal();
        prop_assert_eq!((entries.len(), dropped), (keys.len(), 0));

        let mut silent = Plan { seed: Seed::from_text("another one"), ..plan.clone() };
        for rule in &mut silent.rules {
            rule.probability = Probability::NEVER;
        }
        let engine = Engine::new(silent);
        engine.keep_journal(100);
        engine.replay(plan.seed, &entries).unwrap();
        // The attempts of one key keep their order.
        let mut order: Vec<&String> = keys.iter().collect();
        order.sort_by_key(|key| (key.as_bytes()[0] as usize * step) % 7);
        for key in order {
            engine.decide(Request { matched: 0, ..request(key) });
        }
        let report = engine.end_replay().unwrap();
        prop_assert_eq!((report.recorded, report.replayed, report.unexpected), (keys.len() as u64, keys.len() as u64, 0));
        let what = |entries: Vec<reprise::chaos::Entry>| {
            let mut what: Vec<_> = entries
                .into_iter()
                .map(|entry| (entry.request.to_hex(), entry.attempt, format!("{:?}", entry.faults().collect::<Vec<_>>())))
                .collect();
            what.sort();
            what
        };
        prop_assert_eq!(what(engine.journal().0), what(entries));
    }

    #[test]
    fn an_update_to_the_same_plan_changes_nothing(plan in plans(), keys in keys(), at in 0..60_usize) {
        let (updated, left) = (Engine::new(plan.clone()), Engine::new(plan.clone()));
        for (place, key) in keys.iter().enumerate() {
            if place == at {
                updated.update(plan.clone());
            }
            prop_assert_eq!(updated.decide(request(key)), left.decide(request(key)));
        }
        prop_assert_eq!(updated.metrics(), left.metrics());
    }

    #[test]
    fn after_a_reset_the_run_is_the_same_again(plan in plans(), keys in keys()) {
        let engine = Engine::new(plan);
        let run = || keys.iter().map(|key| engine.decide(request(key)).decision).collect::<Vec<_>>();
        let first = run();
        engine.reset();
        prop_assert_eq!(first, run());
    }

    /// Whoever asks gets at most what the plan has, and asking for everything is like not asking.
    #[test]
    fn a_caller_lowers_a_probability_and_never_raises_it(plan in plans(), asks in proptest::collection::vec(0.0..=1.0, 6), key in "[a-z]{3}") {
        let draws = Draws::new(plan.seed.request(&key), 0);
        let decide = |asked: &[Probability]| {
            plan.decide(&draws, Ask { matched: ALL, attempt: 0, elapsed_ms: 0, asked }, &())
        };
        let fires = |decision: Decision| {
            [decision.latency, decision.fault, decision.kill].into_iter().flatten().count()
        };
        let asked: Vec<Probability> = asks.into_iter().map(p).collect();
        prop_assert_eq!(decide(&[Probability::ALWAYS; 6]), decide(&[]));
        prop_assert!(decide(&[Probability::NEVER; 6]).is_nothing());
        prop_assert!(fires(decide(&asked)) <= fires(decide(&[])));
    }
}

#[test]
fn a_journal_of_other_rules_is_refused_and_changes_nothing() {
    let recorder = Engine::new(plan("42", 1.0, 1.0, 1.0));
    recorder.keep_journal(10);
    recorder.decide(request("a"));
    let (entries, _) = recorder.journal();
    let renamed = rule("another", error(), 1.0);
    let other_kind = rule("failure", delay(1, 1), 1.0);
    for rules in [vec![renamed], vec![other_kind]] {
        let engine = Engine::new(Plan::new(Seed::from_text("42"), Selection::Independent, rules).unwrap());
        engine.decide(request("a"));
        assert_eq!(engine.replay(Seed::from_text("42"), &entries), Err(PlanError::Journal));
        assert_eq!((engine.metrics().total_requests, engine.replay_report()), (1, None));
    }
}

#[test]
fn the_control_share_is_never_faulted_and_has_its_exact_size() {
    const N: u32 = 100_000;
    let mut all = plan("42", 1.0, 1.0, 1.0);
    all.control = p(0.1);
    let decisions = decisions(&all, N as usize);
    let spared = decisions.iter().filter(|decision| decision.is_nothing()).count();
    assert_rate("control", spared, N, 0.1);
    assert!(decisions.iter().all(|decision| decision.is_nothing() || decision.fault.is_some()));
}

/// What the formula says is what comes of a million draws, with bounds of 10^-9.
#[test]
fn effective_rates_are_those_that_come_of_the_draws() {
    const N: u32 = 1_000_000;
    for selection in [Selection::Exclusive, Selection::Independent] {
        let rules = vec![
            rule("first", error(), 0.3),
            rule("second", Fault::Wire, 0.2),
            rule("slow", delay(1, 9), 0.1),
            rule("third", error(), 0.4),
            rule("kill", Fault::KernelKill, 0.05),
        ];
        let plan = Plan { control: p(0.1), ..Plan::new(Seed::from_text("42"), selection, rules).unwrap() };
        let decisions = decisions(&plan, N as usize);
        for (index, rate) in plan.effective_rates().into_iter().enumerate() {
            let hits = |decision: &&Decision| {
                [decision.latency, decision.fault, decision.kill]
                    .iter()
                    .flatten()
                    .any(|hit| hit.rule == index)
            };
            let count = decisions.iter().filter(hits).count();
            assert_rate(&format!("{selection:?} {}", plan.rules[index].name), count, N, rate);
        }
    }
}
