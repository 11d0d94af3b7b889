'use strict';
// Shows openapi.json, which is beside the folder of this script. Text goes in as text nodes only.

const DESCRIPTION = new URL('../openapi.json', document.currentScript.src).href;

const METHODS = ['get', 'post', 'patch', 'put', 'delete'];

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function resolve(document, schema) {
  const path = schema && schema.$ref;
  return path ? path.slice(2).split('/').reduce((at, part) => at[part], document) : schema;
}

function typeOf(schema) {
  if (!schema) return '';
  if (schema.$ref) return schema.$ref.split('/').pop();
  const type = Array.isArray(schema.type) ? schema.type.join(' or ') : schema.type;
  if (type === 'array') return `array of ${typeOf(schema.items)}`;
  return type || (schema.anyOf || []).map(typeOf).join(' or ') || 'any';
}

function members(document, schema) {
  const resolved = resolve(document, schema);
  if (!resolved) return null;
  if (resolved.type === 'array') return members(document, resolved.items);
  const properties = Object.entries(resolved.properties || {});
  if (!properties.length) return null;
  const required = new Set(resolved.required || []);
  const rows = properties.map(([name, property]) => element('tr', {},
    element('td', {}, element('code', {}, name), required.has(name) ? ' *' : ''),
    element('td', {}, typeOf(property)),
    element('td', {}, property.description || '')));
  return element('table', {},
    element('thead', {}, element('tr', {}, ...['member', 'type', 'meaning'].map((text) => element('th', {}, text)))),
    element('tbody', {}, ...rows));
}

function content(document, holder) {
  return Object.entries((holder && holder.content) || {}).flatMap(([kind, media]) => [
    element('p', { class: 'kind' }, element('code', {}, kind), ' ', typeOf(media.schema)),
    members(document, media.schema),
  ]);
}

function operation(document, path, method, described) {
  const responses = Object.entries(described.responses).map(([status, response]) => element('details', {},
    element('summary', {}, element('b', {}, status), ' ', response.description), ...content(document, response)));
  return element('section', { id: described.operationId },
    element('h2', {}, element('span', { class: `method ${method}` }, method.toUpperCase()), ' ', element('code', {}, path)),
    element('p', {}, described.summary),
    described.deprecated ? element('p', { class: 'deprecated' }, 'Deprecated: kept for old clients.') : null,
    described.security && described.security.length
      ? element('p', {}, 'Needs: ', described.security.map((one) => Object.keys(one).join(' and ')).join(' or ')) : null,
    ...(described.requestBody ? [element('h3', {}, 'Request'), ...content(document, described.requestBody)] : []),
    element('h3', {}, 'Answers'), ...responses);
}

async function show() {
  const about = document.getElementById('about');
  try {
    const api = await (await fetch(DESCRIPTION)).json();
    about.replaceChildren(api.info.description, ' ', element('a', { href: DESCRIPTION }, 'openapi.json'));
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((name) => item[name])) {
        const link = element('a', { href: `#${item[method].operationId}` }, `${method.toUpperCase()} ${path}`);
        document.getElementById('contents').append(link);
        document.getElementById('operations').append(operation(api, path, method, item[method]));
      }
    }
  } catch (error) {
    about.textContent = `The description could not be loaded: ${error}`;
  }
}

show();
