// The rows of a simulated server's exposition: what node_exporter tells of a small machine first, then one more processor, disk,
// network device and file system after the other until there are as many rows as were asked for.
//
// As on real servers most values stand still: between two scrapes about 37 % of them change.

import { type FleetRow, isRendered, type Motion, seedOf } from "#/cli/fleet/values.ts";

export interface FleetFamily {
  readonly name: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly rows: readonly FleetRow[];
}

/** Share of the values that change from one scrape to the next, as measured on real node_exporters. */
const changingShare = 0.37;

export const rowsMin = 20;
/** 60 MB a body: beyond what any server exposes. */
export const rowsMax = 500_000;

const family = {
  fleet_time_ms: ["gauge", "The time of this body, in ms since the Unix epoch; its other values follow from it."],
  node_time_seconds: ["gauge", "System time in seconds since epoch (1970)."],
  node_boot_time_seconds: ["gauge", "Node boot time, in unixtime."],
  node_uname_info: ["gauge", "Labeled system information as provided by the uname system call."],
  node_exporter_build_info: ["gauge", "A metric with a constant '1' value labeled by version."],
  fleet_request_duration_seconds: ["histogram", "A histogram of the simulated server's own requests."],
  node_load1: ["gauge", "1m load average."],
  node_load5: ["gauge", "5m load average."],
  node_load15: ["gauge", "15m load average."],
  node_context_switches_total: ["counter", "Total number of context switches."],
  node_intr_total: ["counter", "Total number of interrupts serviced."],
  node_forks_total: ["counter", "Total number of forks."],
  node_procs_running: ["gauge", "Number of processes in runnable state."],
  node_procs_blocked: ["gauge", "Number of processes blocked waiting for I/O to complete."],
  node_entropy_available_bits: ["gauge", "Bits of available entropy."],
  node_filefd_allocated: ["gauge", "File descriptor statistics: allocated."],
  node_filefd_maximum: ["gauge", "File descriptor statistics: maximum."],
  node_memory_MemTotal_bytes: ["gauge", "Memory information field MemTotal_bytes."],
  node_memory_MemFree_bytes: ["gauge", "Memory information field MemFree_bytes."],
  node_memory_MemAvailable_bytes: ["gauge", "Memory information field MemAvailable_bytes."],
  node_memory_Buffers_bytes: ["gauge", "Memory information field Buffers_bytes."],
  node_memory_Cached_bytes: ["gauge", "Memory information field Cached_bytes."],
  node_memory_SwapTotal_bytes: ["gauge", "Memory information field SwapTotal_bytes."],
  node_memory_SwapFree_bytes: ["gauge", "Memory information field SwapFree_bytes."],
  node_vmstat_pgfault: ["counter", "/proc/vmstat information field pgfault."],
  node_vmstat_pgmajfault: ["counter", "/proc/vmstat information field pgmajfault."],
  node_netstat_Tcp_CurrEstab: ["gauge", "Statistic TcpCurrEstab."],
  node_netstat_Tcp_InSegs: ["counter", "Statistic TcpInSegs."],
  node_netstat_Tcp_OutSegs: ["counter", "Statistic TcpOutSegs."],
  node_netstat_Tcp_RetransSegs: ["counter", "Statistic TcpRetransSegs."],
  node_sockstat_TCP_alloc: ["gauge", "Number of TCP sockets in state alloc."],
  node_hwmon_temp_celsius: ["gauge", "Hardware monitor for temperature (input)."],
  node_scrape_collector_duration_seconds: ["gauge", "node_exporter: Duration of a collector scrape."],
  node_scrape_collector_success: ["gauge", "node_exporter: Whether a collector succeeded."],
  node_cpu_seconds_total: ["counter", "Seconds the CPUs spent in each mode."],
  node_cpu_guest_seconds_total: ["counter", "Seconds the CPUs spent in guests (VMs) for each mode."],
  node_cpu_scaling_frequency_hertz: ["gauge", "Current scaled CPU thread frequency in hertz."],
  node_disk_reads_completed_total: ["counter", "The total number of reads completed successfully."],
  node_disk_read_bytes_total: ["counter", "The total number of bytes read successfully."],
  node_disk_read_time_seconds_total: ["counter", "The total number of seconds spent by all reads."],
  node_disk_writes_completed_total: ["counter", "The total number of writes completed successfully."],
  node_disk_written_bytes_total: ["counter", "The total number of bytes written successfully."],
  node_disk_write_time_seconds_total: ["counter", "This is the total number of seconds spent by all writes."],
  node_disk_io_now: ["gauge", "The number of I/Os currently in progress."],
  node_disk_io_time_seconds_total: ["counter", "Total seconds spent doing I/Os."],
  node_network_receive_bytes_total: ["counter", "Network device statistic receive_bytes."],
  node_network_receive_packets_total: ["counter", "Network device statistic receive_packets."],
  node_network_receive_errs_total: ["counter", "Network device statistic receive_errs."],
  node_network_receive_drop_total: ["counter", "Network device statistic receive_drop."],
  node_network_transmit_bytes_total: ["counter", "Network device statistic transmit_bytes."],
  node_network_transmit_packets_total: ["counter", "Network device statistic transmit_packets."],
  node_network_transmit_errs_total: ["counter", "Network device statistic transmit_errs."],
  node_network_transmit_drop_total: ["counter", "Network device statistic transmit_drop."],
  node_network_mtu_bytes: ["gauge", "Network device property: mtu_bytes."],
  node_network_speed_bytes: ["gauge", "Network device property: speed_bytes."],
  node_network_up: ["gauge", "Value is 1 if operstate is 'up', 0 otherwise."],
  node_filesystem_size_bytes: ["gauge", "Filesystem size in bytes."],
  node_filesystem_avail_bytes: ["gauge", "Filesystem space available to non-root users in bytes."],
  node_filesystem_files: ["gauge", "Filesystem total file nodes."],
  node_filesystem_files_free: ["gauge", "Filesystem total free file nodes."],
  node_filesystem_readonly: ["gauge", "Filesystem read-only status."],
} as const satisfies Readonly<Record<string, readonly ["counter" | "gauge" | "histogram", string]>>;

type FamilyName = keyof typeof family;
type Planned = readonly [family: FamilyName, labels: string, motion: Motion, suffix?: string];

const none: Motion = { kind: "fixed", value: 0 };
const one: Motion = { kind: "fixed", value: 1 };
const kept = (unit: number, max: number): Motion => ({ kind: "constant", unit, max });
const count = (perSecond: number): Motion => ({ kind: "counter", perSecond });
const cpu = (share: number): Motion => ({ kind: "cpu_seconds", share });
const gauge = (unit: number, max: number, holdMs = 1000): Motion => ({ kind: "gauge", unit, max, holdMs });

/** The families of a body with that many rows, `fleet_time_ms` among them, in the order of the exposition. */
export function fleetFamilies(rowCount: number): readonly FleetFamily[] {
  const rowsOf = new Map<FamilyName, FleetRow[]>();
  for (const [name, labels, motion, suffix = ""] of calmed(take(rowCount))) {
    const rows = rowsOf.get(name) ?? [];
    if (rows.length === 0) rowsOf.set(name, rows);
    const rowName = name + suffix;
    rows.push({ name: rowName, labels, motion, seed: seedOf(rowName, labels) });
  }
  return (Object.keys(family) as FamilyName[])
    .filter((name) => rowsOf.has(name))
    .map((name) => ({ name, type: family[name][0], help: family[name][1], rows: rowsOf.get(name)! }));
}

function take(rowCount: number): Planned[] {
  const planned = machine();
  for (let device = 0; planned.length < rowCount; device++) planned.push(...devices(device));
  return planned.slice(0, rowCount);
}

/** Lets as many rows change as the share allows, evenly over the list, and holds the rest still. */
function* calmed(planned: readonly Planned[]): Generator<Planned> {
  let allowance = 0;
  for (const [name, labels, motion, suffix] of planned) {
    const mayStop = motion.kind === "counter" || motion.kind === "cpu_seconds" || motion.kind === "gauge";
    allowance += changingShare;
    const moves = isRendered(motion) && motion.kind !== "boot_seconds" && (!mayStop || allowance >= 1);
    if (moves) allowance -= 1;
    yield [name, labels, moves || !mayStop ? motion : stopped(motion), suffix ?? ""];
  }
}

function stopped(motion: Motion): Motion {
  if (motion.kind === "gauge") return { kind: "constant", unit: motion.unit < 1 ? 1 : motion.unit, max: motion.max };
  return { kind: "constant", unit: 1, max: 100_000 };
}

function machine(): Planned[] {
  return [
    ["fleet_time_ms", "", { kind: "clock_ms" }],
    ["node_time_seconds", "", { kind: "clock_seconds" }],
    ["node_boot_time_seconds", "", { kind: "boot_seconds" }],
    ["node_uname_info", 'machine="x86_64",release="6.1.0-18-amd64",sysname="Linux"', one],
    ["node_exporter_build_info", 'branch="debian/sid",goversion="go1.19.8",version="1.5.0"', one],
    ...histogram("fleet_request_duration_seconds", 40, 0.0413),
    ["node_load1", "", gauge(0.01, 8)],
    ["node_load5", "", gauge(0.01, 8, 20_000)],
    ["node_load15", "", gauge(0.01, 8, 60_000)],
    ["node_context_switches_total", "", count(4200)],
    ["node_intr_total", "", count(2100)],
    ["node_forks_total", "", count(3)],
    ["node_procs_running", "", gauge(1, 6)],
    ["node_procs_blocked", "", gauge(1, 2)],
    ["node_entropy_available_bits", "", kept(256, 512)],
    ["node_filefd_allocated", "", gauge(32, 4096)],
    ["node_filefd_maximum", "", kept(1024, 1_048_576)],
    ["node_memory_MemTotal_bytes", "", kept(1_073_741_824, 274_877_906_944)],
    ["node_memory_MemFree_bytes", "", gauge(4096, 17_179_869_184)],
    ["node_memory_MemAvailable_bytes", "", gauge(4096, 68_719_476_736)],
    ["node_memory_Buffers_bytes", "", gauge(4096, 1_073_741_824, 15_000)],
    ["node_memory_Cached_bytes", "", gauge(4096, 34_359_738_368)],
    ["node_memory_SwapTotal_bytes", "", kept(1_073_741_824, 8_589_934_592)],
    ["node_memory_SwapFree_bytes", "", kept(4096, 1_073_741_824)],
    ["node_vmstat_pgfault", "", count(1800)],
    ["node_vmstat_pgmajfault", "", count(0.02)],
    ["node_netstat_Tcp_CurrEstab", "", gauge(1, 200)],
    ["node_netstat_Tcp_InSegs", "", count(900)],
    ["node_netstat_Tcp_OutSegs", "", count(1100)],
    ["node_netstat_Tcp_RetransSegs", "", count(0.3)],
    ["node_sockstat_TCP_alloc", "", gauge(1, 400)],
    ["node_hwmon_temp_celsius", 'chip="platform_coretemp_0",sensor="temp1"', gauge(0.5, 90)],
    ...["cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev"].flatMap((collector): Planned[] => [
      ["node_scrape_collector_duration_seconds", `collector="${collector}"`, { kind: "duration", max: 0.02 }],
      ["node_scrape_collector_success", `collector="${collector}"`, one],
    ]),
  ];
}

function histogram(name: FamilyName, perSecond: number, mean: number): Planned[] {
  const bounds = [
    ["0.005", 0.13],
    ["0.02", 0.42],
    ["0.1", 0.87],
    ["0.5", 0.98],
    ["2", 0.999],
    ["+Inf", 1],
  ] as const;
  return [
    ...bounds.map(([le, below]): Planned => [name, `le="${le}"`, { kind: "bucket", perSecond, below }, "_bucket"]),
    [name, "", { kind: "histogram_sum", perSecond, mean }, "_sum"],
    [name, "", { kind: "bucket", perSecond, below: 1 }, "_count"],
  ];
}

function devices(index: number): Planned[] {
  const disk = `device="sd${letters(index)}"`;
  const net = `device="eth${index}"`;
  const mount = index === 0 ? "/" : `/srv/data${index}`;
  const files = `device="/dev/sd${letters(index)}1",fstype="ext4",mountpoint="${mount}"`;
  const modes = { idle: 0.8, iowait: 0.01, irq: 0, nice: 0, softirq: 0.01, steal: 0, system: 0.05, user: 0.12 };
  return [
    ...Object.entries(modes).map(
      ([mode, share]): Planned => [
        "node_cpu_seconds_total",
        `cpu="${index}",mode="${mode}"`,
        share === 0 ? none : cpu(share),
      ],
    ),
    ["node_cpu_guest_seconds_total", `cpu="${index}",mode="nice"`, none],
    ["node_cpu_guest_seconds_total", `cpu="${index}",mode="user"`, none],
    ["node_cpu_scaling_frequency_hertz", `cpu="${index}"`, gauge(1000, 3_800_000_000)],
    ["node_disk_reads_completed_total", disk, count(12)],
    ["node_disk_read_bytes_total", disk, count(480_000)],
    ["node_disk_read_time_seconds_total", disk, cpu(0.02)],
    ["node_disk_writes_completed_total", disk, count(35)],
    ["node_disk_written_bytes_total", disk, count(910_000)],
    ["node_disk_write_time_seconds_total", disk, cpu(0.04)],
    ["node_disk_io_now", disk, gauge(1, 4)],
    ["node_disk_io_time_seconds_total", disk, cpu(0.03)],
    ["node_network_receive_bytes_total", net, count(2_300_000)],
    ["node_network_receive_packets_total", net, count(3100)],
    ["node_network_receive_errs_total", net, none],
    ["node_network_receive_drop_total", net, kept(1, 300)],
    ["node_network_transmit_bytes_total", net, count(1_900_000)],
    ["node_network_transmit_packets_total", net, count(2800)],
    ["node_network_transmit_errs_total", net, none],
    ["node_network_transmit_drop_total", net, none],
    ["node_network_mtu_bytes", net, kept(1500, 9000)],
    ["node_network_speed_bytes", net, kept(125_000_000, 1_250_000_000)],
    ["node_network_up", net, one],
    ["node_filesystem_size_bytes", files, kept(1_048_576, 1_099_511_627_776)],
    ["node_filesystem_avail_bytes", files, gauge(4096, 549_755_813_888)],
    ["node_filesystem_files", files, kept(1024, 16_777_216)],
    ["node_filesystem_files_free", files, gauge(1, 8_388_608)],
    ["node_filesystem_readonly", files, none],
  ];
}

/** a … z, aa, ab … as Linux names disks. */
function letters(index: number): string {
  const last = String.fromCharCode(97 + (index % 26));
  return index < 26 ? last : letters(Math.floor(index / 26) - 1) + last;
}
