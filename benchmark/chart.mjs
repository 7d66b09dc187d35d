const WIDTH = 860;
const LABELS = 190;
const ROW = 44;
const BAR = 15;
const TOP = 76;
const COLORS = ['#2563eb', '#d97706'];
/** What lies beyond is cut off, and says so: one slow rival must not make all others one pixel wide. */
const LONGEST = 140;

/** Horizontal bars around zero, one group a name and one bar a series. */
export function barChart(title, groups, caption) {
  const names = groups[0].values.map(({ name }) => name);
  const lowest = Math.min(0, ...groups.flatMap(({ values }) => values.map(({ value }) => value)));
  const left = LABELS + 60;
  const scale = (WIDTH - left - 70) / (LONGEST - lowest);
  const zero = left - lowest * scale;
  const height = TOP + names.length * ROW + 40;
  const parts = [];
  for (let tick = Math.ceil(lowest / 20) * 20; tick <= LONGEST; tick += 20) {
    const x = (zero + tick * scale).toFixed(1);
    parts.push(
      `<line x1="${x}" x2="${x}" y1="${TOP - 6}" y2="${height - 40}" stroke="${tick === 0 ? '#111' : '#ddd'}"/>`,
      `<text x="${x}" y="${TOP - 12}" text-anchor="middle" fill="#555">${tick}</text>`,
    );
  }
  for (const [row, name] of names.entries()) {
    const y = TOP + row * ROW;
    const weight = name.startsWith('reprise') ? ' font-weight="bold"' : '';
    parts.push(`<text x="${LABELS}" y="${y + 22}" text-anchor="end"${weight}>${name}</text>`);
    for (const [at, { values }] of groups.entries()) {
      const value = values.find((entry) => entry.name === name)?.value;
      if (value === undefined) continue;
      const shown = Math.min(value, LONGEST);
      const width = Math.max(1, Math.abs(shown) * scale);
      const x = shown < 0 ? zero - width : zero;
      const text = `${Math.round(value)}${value > LONGEST ? ' →' : ''}`.replace('-', '−');
      const end = shown < 0 ? x - 4 : x + width + 4;
      const barY = y + 4 + at * (BAR + 2);
      parts.push(
        `<rect x="${x.toFixed(1)}" y="${barY}" width="${width.toFixed(1)}" height="${BAR}" fill="${COLORS[at]}"/>`,
        `<text x="${end.toFixed(1)}" y="${barY + 12}" text-anchor="${shown < 0 ? 'end' : 'start'}" fill="#333">${text}</text>`,
      );
    }
  }
  const legend = groups.map(
    ({ series }, at) =>
      `<rect x="${20 + at * 110}" y="36" width="12" height="12" fill="${COLORS[at]}"/>` +
      `<text x="${38 + at * 110}" y="47">${series}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="20" y="24" font-size="15" font-weight="bold">${title}</text>`,
    ...legend,
    ...parts,
    `<text x="20" y="${height - 14}" fill="#555">${caption}</text>`,
    '</svg>',
    '',
  ].join('\n');
}
