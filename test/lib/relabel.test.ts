// Expected values are written out from Prometheus' documentation of relabel_config and from what its own table of cases says of
// odd inputs; hashes from md5sum(1).

import t from "tap";
import { type LabelMap, Relabelling, type RelabelRule, relabelActions, relabelDefaults } from "#/lib/model/relabel.ts";

function rule(edit: Partial<RelabelRule>): RelabelRule {
  return { ...relabelDefaults, sourceLabels: [], modulus: 0, targetLabel: "", ...edit };
}

/** The labels after the rules; undefined when they are dropped. */
function apply(labels: Readonly<Record<string, string>>, ...rules: readonly Partial<RelabelRule>[]) {
  const map: LabelMap = new Map(Object.entries(labels));
  return new Relabelling(rules.map(rule)).apply(map) === undefined ? Object.fromEntries(map) : undefined;
}

const abc = { a: "foo", b: "bar", c: "baz" };

t.test("replace writes what the template makes of a match, and nothing without one", async (t) => {
  const replace = (edit: Partial<RelabelRule>) => apply(abc, { targetLabel: "d", ...edit });
  t.same(replace({ sourceLabels: ["a"] }), { ...abc, d: "foo" }, "the defaults copy");
  t.same(replace({ sourceLabels: ["a", "b"] }), { ...abc, d: "foo;bar" });
  t.same(replace({ sourceLabels: ["a", "none", "c"], separator: "-" }), { ...abc, d: "foo--baz" });
  t.same(replace({ sourceLabels: ["a"], regex: "f(.*)", replacement: "ch$1-$1" }), { ...abc, d: "choo-oo" });
  t.same(replace({ sourceLabels: ["a"], regex: "o" }), abc, "anchored at both ends");
  t.same(replace({ sourceLabels: ["a"], regex: "f|x" }), abc, "the anchors hold every alternative");
  t.same(replace({ sourceLabels: ["a"], regex: "nope", replacement: "x" }), abc);
  t.same(replace({ replacement: "static" }), { ...abc, d: "static" }, "no source labels are an empty value");
  t.same(replace({ targetLabel: "b", replacement: "" }), { a: "foo", c: "baz" }, "an empty value takes the label away");
  t.same(replace({ targetLabel: "b", sourceLabels: ["none"] }), { a: "foo", c: "baz" });
  t.same(replace({ sourceLabels: ["a"], regex: "(?P<first>f)(oo)?", replacement: `\${first}_$2` }), {
    ...abc,
    d: "f_oo",
  });
});

t.test("the label that replace writes may come of the match, when it is a label name", async (t) => {
  const labels = { a: "some-name-value" };
  const split = { sourceLabels: ["a"], regex: "some-([^-]+)-([^,]+)" };
  t.same(apply(labels, { ...split, targetLabel: "$1", replacement: "$2" }), { ...labels, name: "value" });
  t.same(apply(labels, { ...split, targetLabel: `x_\${1}`, replacement: "$2" }), { ...labels, x_name: "value" });
  t.same(apply(labels, { ...split, targetLabel: "$3", replacement: "$2" }), labels, "none");
  t.same(apply({ a: "some-1name-value" }, { ...split, targetLabel: "$1", replacement: "$2" }), {
    a: "some-1name-value",
  });
  t.same(
    apply({ ...labels, name: "old" }, { ...split, targetLabel: "$1", replacement: "$9" }),
    labels,
    "an empty value",
  );
});

t.test("keep and drop decide by the match, keepequal and dropequal by another label", async (t) => {
  t.same(apply(abc, { action: "keep", sourceLabels: ["a"], regex: "fo+" }), abc);
  t.equal(apply(abc, { action: "keep", sourceLabels: ["a"], regex: "o" }), undefined);
  t.equal(apply(abc, { action: "drop", sourceLabels: ["a", "b"], regex: "foo;bar|x" }), undefined);
  t.same(apply(abc, { action: "drop", sourceLabels: ["a"], regex: "bar" }), abc);
  t.equal(apply(abc, { action: "drop", sourceLabels: ["none"], regex: "" }), undefined);
  const same = { __tmp_port: "1234", __port1: "1234", __port2: "5678" };
  t.equal(apply(same, { action: "dropequal", sourceLabels: ["__tmp_port"], targetLabel: "__port1" }), undefined);
  t.same(apply(same, { action: "dropequal", sourceLabels: ["__tmp_port"], targetLabel: "__port2" }), same);
  t.same(apply(same, { action: "keepequal", sourceLabels: ["__tmp_port"], targetLabel: "__port1" }), same);
  t.equal(apply(same, { action: "keepequal", sourceLabels: ["__tmp_port"], targetLabel: "__port2" }), undefined);
  t.same(apply(same, { action: "keepequal", sourceLabels: ["no"], targetLabel: "nothing" }), same, "both are empty");
  t.same(apply(abc, { action: "drop", sourceLabels: ["a"], regex: "x" }, { targetLabel: "d", replacement: "1" }), {
    ...abc,
    d: "1",
  });
  const numbered = new Relabelling([rule({ targetLabel: "d" }), rule({ action: "drop", sourceLabels: ["a"] })]);
  t.equal(numbered.apply(new Map(Object.entries(abc))), 1, "which rule it was");
});

t.test("hashmod takes the last 8 bytes of the MD5 modulo a number", async (t) => {
  // printf %s foo | md5sum: acbd18db4cc2f85cedef654fccc4a4d8; 0xedef654fccc4a4d8 = 17145033699835028696
  const hash = (modulus: number) =>
    apply({ a: "foo" }, { action: "hashmod", sourceLabels: ["a"], targetLabel: "d", modulus });
  t.same(hash(1000), { a: "foo", d: "696" });
  t.same(hash(1), { a: "foo", d: "0" });
  t.same(hash(Number.MAX_SAFE_INTEGER), { a: "foo", d: "4333518062922823" });
});

t.test("labelmap copies by name, labeldrop and labelkeep take away by name", async (t) => {
  const labels = { a: "foo", b1: "bar", b2: "baz" };
  t.same(apply(labels, { action: "labelmap", regex: "(b.*)", replacement: "bar_$1" }), {
    ...labels,
    bar_b1: "bar",
    bar_b2: "baz",
  });
  const meta = { __meta_my_bar: "aaa", __meta_my_baz: "bbb", __meta_other: "ccc", a: "foo" };
  t.same(apply(meta, { action: "labelmap", regex: "__meta_(my.*)" }), { ...meta, my_bar: "aaa", my_baz: "bbb" });
  t.same(apply(labels, { action: "labelmap", regex: "b1", replacement: "a" }), { ...labels, a: "bar" });
  t.same(apply(labels, { action: "labeldrop", regex: "b.*" }), { a: "foo" });
  t.same(apply(labels, { action: "labelkeep", regex: "b.*" }), { b1: "bar", b2: "baz" });
});

t.test("lowercase and uppercase map letter by letter, as Go does", async (t) => {
  const change = (action: "lowercase" | "uppercase", a: string) =>
    apply({ a }, { action, sourceLabels: ["a"], targetLabel: "d" })?.d;
  t.equal(change("lowercase", "FOO-Bar 1"), "foo-bar 1");
  t.equal(change("uppercase", "foo-Bar 1"), "FOO-BAR 1");
  t.equal(change("uppercase", "straße ŉ"), "STRAßE ŉ", "no letter becomes two");
  t.equal(change("lowercase", "ΟΔΟΣ İ"), "οδοσ i", "no letter looks at its neighbours");
  t.equal(change("uppercase", "ᾀ ᾳ ᾷ"), "ᾈ ᾼ ᾷ");
  t.same(apply({ a: "x", d: "y" }, { action: "uppercase", sourceLabels: ["no"], targetLabel: "d" }), { a: "x" });
});

t.test("rules run in their order, each on what the one before left", async (t) => {
  t.same(
    apply(
      { a: "foo" },
      { sourceLabels: ["a"], regex: ".*(o).*", targetLabel: "b", replacement: "b$1" },
      { sourceLabels: ["b"], targetLabel: "c", replacement: "$1!" },
      { action: "labeldrop", regex: "b" },
    ),
    { a: "foo", c: "bo!" },
  );
});

t.test(
  "what rules touch is what they read or may write, and everything when they make names of what they read",
  async (t) => {
    const touched = (...rules: readonly Partial<RelabelRule>[]) =>
      new Relabelling(rules.map(rule)).touches(["instance", "job", "rack"]);
    t.same(touched({ action: "drop", sourceLabels: ["__name__"] }), []);
    t.same(touched({ action: "labelkeep", regex: "job" }), [], "names alone decide");
    t.same(touched({ sourceLabels: ["job"], targetLabel: "d" }), ["job"]);
    t.same(touched({ targetLabel: "rack", replacement: "1" }), ["rack"]);
    t.same(touched({ action: "keepequal", sourceLabels: ["x"], targetLabel: "instance" }), ["instance"]);
    t.same(touched({ action: "labelmap", regex: "ra.*", replacement: "d" }), ["rack"]);
    t.same(touched({ sourceLabels: ["x"], targetLabel: "$1" }), ["instance", "job", "rack"]);
    t.same(touched({ action: "labelmap", regex: "x(.*)" }), ["instance", "job", "rack"]);
  },
);

t.test("there is a case here for each action", async (t) => {
  t.equal(relabelActions.length, 11);
  t.throws(() => new Relabelling([rule({ regex: "(" })]), /missing closing \)/);
});
