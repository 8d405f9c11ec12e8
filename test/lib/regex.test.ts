// What is expected follows from RE2's syntax and from the documentation of Go's regexp.Expand.

import t from "tap";
import { compileAnchored, compileTest } from "#/lib/regex/regex.ts";
import { expand, parseTemplate } from "#/lib/regex/template.ts";

t.test("an expression must match the whole text, by the fast paths and by the automaton alike", async (t) => {
  for (const [expression, matching, other] of [
    ["", [""], ["a"]],
    ["abc", ["abc"], ["xabc", "abcx", ""]],
    ["a|b\\.c", ["a", "b.c"], ["bxc", "ab"]],
    ["(a|b)", ["a", "b"], ["(a|b)", ""]],
    ["node_.*", ["node_", "node_cpu"], ["xnode_", "nod"]],
    ["node_.+", ["node_cpu", "node_\n"], ["node_"]],
    [".*_total", ["_total", "a_total"], ["a_total_"]],
    [".*cpu.*", ["cpu", "a cpu b"], ["cp"]],
    [".*", ["", "a\nb"], []],
    ["a|b.*", ["a", "b", "bx"], ["ax"]],
    ["(?i)AbC", ["abc", "ABC"], ["ab"]],
    ["[^:]+:\\d{1,2}", ["h:1", "h:12"], ["h:123", ":1"]],
  ] as const) {
    const test = compileTest(expression);
    for (const text of matching) t.ok(test(text), `${expression} matches ${JSON.stringify(text)}`);
    for (const text of other) t.notOk(test(text), `${expression} does not match ${JSON.stringify(text)}`);
  }
  t.throws(() => compileTest("a(b"), /error parsing regexp: missing closing \)/);
  t.throws(() => compileTest("(?=a)"), /error parsing regexp/, "RE2 has no lookahead");
});

t.test("an expression that would hang JavaScript's own takes no time", async (t) => {
  const beganMs = performance.now();
  t.notOk(compileTest("(a+)+b")("a".repeat(5000)));
  t.ok(performance.now() - beganMs < 1000);
});

t.test("groups are put into a replacement as Go's Expand does", async (t) => {
  const compiled = compileAnchored("(?P<host>[^:]+):(\\d+)(x)?");
  const result = (template: string) => {
    const matcher = compiled.matcher("web-1:9100");
    return matcher.matches() ? expand(parseTemplate(template), matcher, compiled.namedGroups()) : "no match";
  };
  t.equal(result("$1"), "web-1");
  t.equal(result(`\${1}0:$2`), "web-10:9100");
  t.equal(result("$10"), "", "$10 is the tenth group, which is none");
  t.equal(result("$0"), "web-1:9100");
  t.equal(result("$host-$2"), "web-1-9100");
  t.equal(result(`\${host}_x $host_x`), "web-1_x ");
  t.equal(result("[$3]"), "[]", "a group that took no part");
  t.equal(result("$$1 $ ${ ${1 $-"), "$1 $ ${ ${1 $-");
  t.equal(result("$01"), "", "a leading zero makes it a name");
  t.equal(result("$é"), "", "letters are those of Unicode");
  t.equal(result(""), "");
});
