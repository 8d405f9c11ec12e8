// Relabelling rules as they stand in the file: what Prometheus refuses of them (model/relabel, Config.Validate), refused in the
// same cases, and as the rules that both tiers run.

import {
  labelNamePattern,
  type RelabelAction,
  type RelabelRule,
  relabelDefaults,
  relabelRulesMax,
  relabelSourcesMax,
} from "#/lib/model/relabel.ts";
import { compileTest } from "#/lib/regex/regex.ts";
import { type Finding, type Path, showValue } from "#/topology/problem.ts";
import type { RelabelConfig } from "#/topology/schema.ts";

/** Of one expression or replacement; they travel with every generation. */
const textBytesMax = 8192;

/** Templates that are a label name once their groups are filled in. */
const namePattern = /^(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))(?:\w|\$(?:\{\w+\}|\w+))*$/;

/** Which other keys an action has beside those that all may have at their defaults. */
const needsTarget: readonly RelabelAction[] = [
  "replace",
  "hashmod",
  "lowercase",
  "uppercase",
  "keepequal",
  "dropequal",
];

const writes: readonly RelabelAction[] = ["replace", "hashmod", "lowercase", "uppercase"];

export function rulesOf(configs: readonly RelabelConfig[]): readonly RelabelRule[] {
  return configs.map((config) => ({
    action: actionOf(config),
    sourceLabels: config.source_labels,
    separator: config.separator,
    regex: config.regex,
    modulus: config.modulus,
    targetLabel: config.target_label,
    replacement: config.replacement,
  }));
}

/** `placeLabels` carry the data centre and the region: no rule may write them. */
export function checkRelabelConfigs(
  configs: readonly RelabelConfig[],
  placeLabels: readonly string[],
  path: Path,
): Finding[] {
  const findings = configs
    .slice(0, relabelRulesMax)
    .flatMap((config, index) => checkRule(config, placeLabels, [...path, index]));
  if (configs.length > relabelRulesMax) {
    findings.push(error(path, `expected at most ${relabelRulesMax} rules, got ${configs.length}`));
  }
  return findings;
}

function checkRule(config: RelabelConfig, placeLabels: readonly string[], path: Path): Finding[] {
  const action = actionOf(config);
  return [
    ...checkTexts(config, path),
    ...checkRegex(config, path),
    ...checkKeys(config, action, path),
    ...checkTarget(config, action, placeLabels, path),
  ];
}

function actionOf(config: RelabelConfig): RelabelAction {
  return config.action.toLowerCase() as RelabelAction;
}

function checkTexts(config: RelabelConfig, path: Path): Finding[] {
  if (config.source_labels.length > relabelSourcesMax) {
    const message = `expected at most ${relabelSourcesMax} labels, got ${config.source_labels.length}`;
    return [error([...path, "source_labels"], message)];
  }
  return (["separator", "regex", "target_label", "replacement"] as const).flatMap((key) => {
    const bytes = Buffer.byteLength(config[key]);
    if (bytes > textBytesMax) return [error([...path, key], `expected at most ${textBytesMax} bytes, got ${bytes}`)];
    if (!config[key].isWellFormed()) return [error([...path, key], "expected valid Unicode, got half a character")];
    return [];
  });
}

function checkRegex({ regex }: RelabelConfig, path: Path): Finding[] {
  try {
    compileTest(regex);
    return [];
  } catch (cause) {
    const reason = (cause as Error).message;
    return [
      error([...path, "regex"], `expected a regular expression in RE2 syntax, got ${showValue(regex)}: ${reason}`),
    ];
  }
}

/** Keys that the action does not use must be left out, where Prometheus says so too. */
function checkKeys(config: RelabelConfig, action: RelabelAction, path: Path): Finding[] {
  const findings: Finding[] = [];
  const mustBeDefault = (key: keyof RelabelConfig, fallback: unknown) => {
    if (config[key] === fallback || (key === "source_labels" && config.source_labels.length === 0)) return;
    findings.push(error([...path, key], `expected no ${key} with the action ${action}, got ${showValue(config[key])}`));
  };
  if (action === "hashmod" && config.modulus === 0) {
    findings.push(error([...path, "modulus"], "expected a modulus of at least 1 with the action hashmod, got none"));
  }
  if (action === "keepequal" || action === "dropequal") {
    mustBeDefault("regex", relabelDefaults.regex);
    mustBeDefault("modulus", 0);
    mustBeDefault("separator", relabelDefaults.separator);
    mustBeDefault("replacement", relabelDefaults.replacement);
  }
  if (action === "lowercase" || action === "uppercase") mustBeDefault("replacement", relabelDefaults.replacement);
  if (action === "labeldrop" || action === "labelkeep") {
    mustBeDefault("source_labels", undefined);
    mustBeDefault("target_label", "");
    mustBeDefault("modulus", 0);
    mustBeDefault("separator", relabelDefaults.separator);
    mustBeDefault("replacement", relabelDefaults.replacement);
  }
  return findings;
}

function checkTarget(
  config: RelabelConfig,
  action: RelabelAction,
  placeLabels: readonly string[],
  path: Path,
): Finding[] {
  const key = action === "labelmap" ? "replacement" : "target_label";
  const name = config[key];
  const at = [...path, key];
  if (action === "labelmap") {
    if (!namePattern.test(name))
      return [error(at, `expected a label name, or one with $1 and the like, got ${showValue(name)}`)];
  } else {
    if (!needsTarget.includes(action)) return [];
    if (name === "") return [error(at, `expected a label name with the action ${action}, got none`)];
    const isTemplate = action === "replace" && name.includes("$");
    if (isTemplate && !namePattern.test(name)) {
      return [error(at, `expected a label name, or one with $1 and the like, got ${showValue(name)}`)];
    }
    if (!isTemplate && !labelNamePattern.test(name)) {
      return [error(at, `expected a label name of letters, digits and underscores, got ${showValue(name)}`)];
    }
  }
  if ((writes.includes(action) || action === "labelmap") && placeLabels.includes(name)) {
    return [error(at, `${name} is set from the data centre's name or region (label_names)`)];
  }
  return [];
}

function error(path: Path, message: string): Finding {
  return { severity: "error", path, message };
}
