'use strict';
(() => {
  const $ = id => document.getElementById(id);
  const length = s => {
    const [m, h, d] = [60, 3600, 86400].map(u => Math.floor(s / u));
    if (m < 1) return Math.floor(s) + 's';
    if (h < 1) return m + 'm';
    if (d < 1) return h + 'h' + (m % 60 ? m % 60 + 'm' : '');
    return d + 'd' + (d < 7 && h % 24 ? h % 24 + 'h' : '');
  };
  const ago = t => {
    const s = (Date.now() - t) / 1000;
    return s >= 0 ? length(s) + ' ago' : 'in ' + length(-s);
  };

  // Times: in the table how long ago, elsewhere behind the time itself.
  const times = [...document.querySelectorAll('time')].map(e => ({e, at: Date.parse(e.dateTime), text: e.textContent, short: !!e.closest('td')}));
  const written = $('written').querySelector('time');
  const every = +document.body.dataset.every;
  const tick = () => {
    for (const t of times) {
      t.e.textContent = t.short ? ago(t.at) : t.text + ' (' + ago(t.at) + ')';
      if (t.short) t.e.title = t.text;
    }
    const age = (Date.now() - Date.parse(written.dateTime)) / 1000;
    const old = age > Math.max(2 * every, every + 120);
    $('written').classList.toggle('aged', old);
    const text = old ? 'This page is old: it was written ' + length(age) + ' ago. Either it is a copy, or cron no longer renews it.' : '';
    if ($('old').textContent !== text) $('old').textContent = text;
  };
  tick();
  setInterval(tick, 60000);

  // On a phone a table is laid out as blocks; it stays a table for those who hear it.
  const roles = {TABLE: 'table', THEAD: 'rowgroup', TBODY: 'rowgroup', TR: 'row', TD: 'cell'};
  for (const e of document.querySelectorAll('table, table *')) {
    const role = roles[e.tagName] ?? (e.tagName === 'TH' && (e.scope === 'col' ? 'columnheader' : 'rowheader'));
    if (role) e.setAttribute('role', role);
  }

  const table = document.querySelector('table.names');
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows].map(r => {
    const a = r.querySelector('th a');
    return {r, article: a && $(a.hash.slice(1)), text: r.textContent.toLowerCase(), bad: 'w' in r.dataset};
  });

  // Sorting: each header becomes a button.
  const key = (row, i) => {
    const c = row.r.cells[i], t = c.querySelector('time');
    if (c.dataset.v !== undefined) return +c.dataset.v;
    return t ? Date.parse(t.dateTime) : c.textContent.toLowerCase();
  };
  [...table.tHead.rows[0].cells].forEach((th, i) => {
    if (th.classList.contains('chart')) return;
    const b = document.createElement('button');
    b.type = 'button';
    b.textContent = th.textContent;
    th.replaceChildren(b);
    b.onclick = () => {
      const up = th.getAttribute('aria-sort') !== 'ascending';
      for (const o of table.tHead.rows[0].cells) o.removeAttribute('aria-sort');
      th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const keyed = rows.map(row => [key(row, i), row.r]);
      // What has no value comes last, whichever the direction.
      keyed.sort(([a], [b]) => a === '' ? 1 : b === '' ? -1 : (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1));
      body.append(...keyed.map(k => k[1]));
    };
  });

  // Filtering, of the rows and of the parts below.
  const filter = () => {
    const want = $('filter').value.toLowerCase().trim(), only = $('only').checked;
    let n = 0;
    for (const row of rows) {
      const show = (!only || row.bad) && row.text.includes(want);
      row.r.hidden = !show;
      if (row.article) row.article.hidden = !show;
      n += show;
    }
    $('count').textContent = n === rows.length ? '' : n + ' of ' + rows.length + ' names';
  };
  $('filter').oninput = $('only').onchange = filter;
  $('tools').onsubmit = e => e.preventDefault();
  $('tools').hidden = false;
})();
