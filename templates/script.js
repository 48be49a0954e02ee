(function () {
  'use strict';
  var all = function (selector, root) { return Array.prototype.slice.call((root || document).querySelectorAll(selector)); };

  // A link to a row opens what it points at, and whatever that lies in.
  function open() {
    var target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (var at = target; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true;
    all('details', target).slice(0, 1).forEach(function (one) { one.open = true; });
    target.scrollIntoView();
  }
  window.addEventListener('hashchange', open);
  open();

  // Expand and collapse everything.
  var expand = document.getElementById('expand');
  if (expand) {
    expand.hidden = false;
    expand.addEventListener('click', function () {
      var opened = expand.getAttribute('aria-pressed') !== 'true';
      all('main details').forEach(function (one) { one.open = opened; });
      expand.setAttribute('aria-pressed', String(opened));
      expand.textContent = opened ? 'Collapse all' : 'Expand all';
    });
  }

  // Rows by words, dataplane and standing.
  var filter = document.getElementById('filter');
  if (filter) {
    filter.hidden = false;
    var fields = ['words', 'dataplane', 'standing'].map(function (name) { return filter.elements[name]; });
    var said = document.getElementById('filtered');
    var apply = function () {
      var words = fields[0].value.trim().toLowerCase(), dataplane = fields[1].value, standing = fields[2].value;
      var shown = 0, rows = all('tr.main[data-id]');
      rows.forEach(function (row) {
        var cells = all('td[data-standing]', row);
        var fits = cells.some(function (cell) {
          return (!dataplane || cell.dataset.dataplane === dataplane) && (!standing || cell.dataset.standing === standing);
        });
        var text = (row.dataset.id + ' ' + row.textContent).toLowerCase();
        var hide = (words && text.indexOf(words) < 0) || ((dataplane || standing) && !fits);
        row.hidden = hide;
        if (row.nextElementSibling) row.nextElementSibling.hidden = hide;
        if (!hide) shown += 1;
      });
      all('section .part').forEach(function (part) { part.hidden = !all('tr.main:not([hidden])', part).length; });
      said.textContent = shown + ' of ' + rows.length + ' rows';
    };
    filter.addEventListener('input', apply);
    filter.addEventListener('reset', function () { setTimeout(apply); });
    filter.addEventListener('submit', function (event) { event.preventDefault(); });
    // A link leads to its row even where the filter hides it.
    window.addEventListener('hashchange', function () {
      var target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (target && target.closest('[hidden]')) { filter.reset(); setTimeout(open, 10); }
    });
  }

  // The contents follow the reader.
  var links = all('nav.contents a[href^="#"]');
  var places = links.map(function (link) { return document.getElementById(link.hash.slice(1)); });
  var marked = null;
  function follow() {
    var now = null;
    places.forEach(function (place, at) { if (place && place.getBoundingClientRect().top < 180) now = links[at]; });
    if (now === marked) return;
    if (marked) marked.removeAttribute('aria-current');
    if (now) {
      now.setAttribute('aria-current', 'location');
      var list = now.closest('ul');
      if (list && list.scrollWidth > list.clientWidth) list.scrollLeft = now.offsetLeft - 24;
    }
    marked = now;
  }
  var waiting = false;
  window.addEventListener('scroll', function () {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(function () { waiting = false; follow(); });
  }, { passive: true });
  follow();

  // Points of a chart: one stop of the tabulator a chart, arrows move between its points.
  all('svg.chart').forEach(function (svg) {
    var points = all('g.told', svg);
    if (!points.length) return;
    points[0].setAttribute('tabindex', '0');
    svg.addEventListener('keydown', function (event) {
      var at = points.indexOf(document.activeElement);
      var step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (at < 0 || !step) return;
      var next = points[at + step];
      if (!next) return;
      event.preventDefault();
      points[at].setAttribute('tabindex', '-1');
      next.setAttribute('tabindex', '0');
      next.focus();
    });
  });

  // Paper shows what is closed on the screen only where the style says so.
  window.addEventListener('beforeprint', function () { all('details.printed').forEach(function (one) { one.open = true; }); });
})();
