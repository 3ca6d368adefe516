// The workers alive: the document of `/v1/workers`.
const workersTable = table(byId('workers-table'), [
  { title: 'Host', name: 'wide' }, { title: 'Device' }, { title: 'Bundle' }, { title: 'Jobs', numeric: true },
  { title: 'Audio s/s', numeric: true }, { title: 'Seen', numeric: true }, { title: 'Takes jobs' },
], () => {
  const [host, id, device, deviceName, bundle, jobs, slots, rate, seen, takes] =
    ['b', 'small', 'span', 'small', 'span', 'span', 'span', 'span', 'span', 'span'].map((tag) => element(tag, { dir: 'auto' }));
  const load = element('meter', { min: 0, 'aria-hidden': 'true' });
  return {
    cells: [[host, id], [device, deviceName], bundle, [jobs, ' / ', slots, load], rate, seen, takes],
    update(worker) {
      write(host, printable(worker.host));
      write(id, printable(worker.id));
      write(device, printable(worker.device));
      write(deviceName, printable(worker.device_name));
      write(bundle, printable(`${worker.bundle}@${worker.version}`));
      write(jobs, number(worker.jobs));
      write(slots, number(worker.slots));
      load.max = Math.max(1, worker.slots);
      load.value = worker.jobs;
      write(rate, number(worker.audio_s_per_s));
      write(seen, `${length(worker.last_seen_s)} ago`);
      write(takes, worker.draining ? 'draining' : 'yes');
      mark(takes, 'class', worker.draining ? 'state draining' : null);
    },
  };
});

function showWorkers(workers) {
  show(byId('workers-table'), workers.length > 0);
  show(byId('workers-note'), workers.length === 0);
  workersTable.show(workers);
}
