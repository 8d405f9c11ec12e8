// Lists of targets as people and programs write them: read, or refused with what is wrong and where.

import t from "tap";
import { BadTargetList, parseTargetList } from "#/primary/discover/list.ts";

t.test("a list of targets is refused whole, with the place of what is wrong", async (t) => {
  const faultOf = (text: string | Buffer, name: string) => {
    try {
      parseTargetList(Buffer.from(text), name);
      return "none";
    } catch (error) {
      if (!(error instanceof BadTargetList)) throw error;
      return `${error.code}: ${error.message}`;
    }
  };
  t.equal(faultOf("[]", "a.json"), "none");
  t.match(faultOf("[", "a.json"), /^syntax: not valid JSON: /);
  t.equal(faultOf('[{"targets": "x"}]', "a.json"), 'shape: [0].targets: expected a list of host:port, got "x"');
  t.equal(faultOf('[{"targets": [5]}]', "a.json"), "shape: [0].targets[0]: expected a text, got 5 (a number)");
  t.equal(faultOf('[{"labels": {"a": 5}}]', "a.json"), "shape: [0].labels.a: expected a text, got 5 (a number)");
  t.equal(
    faultOf('[{"labels": {"a-b": "c"}}]', "a.json"),
    'shape: [0].labels.a-b: expected a label name of letters, digits and underscores, got "a-b"',
  );
  t.equal(faultOf('[{"target": []}]', "a.json"), 'shape: [0]: expected targets and labels alone, got the key "target"');
  t.equal(faultOf("- a\n- b\n", "a.yml"), 'shape: 1:3: [0]: expected a mapping with targets and labels, got "a"');
  t.equal(faultOf("- targets: []\n  targets: []\n", "a.yml"), "syntax: 2:3: this key stands here a second time");
  t.equal(faultOf(Buffer.from([0xff]), "a.yml"), "not_utf8: expected text in UTF-8, got other bytes");
  t.match(
    faultOf(Buffer.alloc(3 << 20, "#"), "a.yml"),
    /^too_large: expected at most 2 MiB, got more; split the file, or/,
  );
  t.match(faultOf(Buffer.alloc((16 << 20) + 1, " "), "a.json"), /^too_large: expected at most 16 MiB/);
});
