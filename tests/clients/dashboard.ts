// A dashboard as Grafana's own types have it (@grafana/schema, by the name of TYPES), its enumerations as the words that stand in JSON. What belongs to the data
// source's plugin is no part of these types: the expression of an annotation, and the text that a variable's page shows.
import type { Dashboard as Typed } from 'TYPES';

type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Whole = Plain<Typed>;
type Annotation = NonNullable<NonNullable<Whole['annotations']>['list']>[number] & { expr?: string; step?: string; titleFormat?: string; textFormat?: string; tagKeys?: string; useValueForTime?: string };
type Variable = NonNullable<NonNullable<Whole['templating']>['list']>[number] & { definition?: string };
type Dashboard = Omit<Whole, 'annotations' | 'templating'> & { annotations: { list: Annotation[] }; templating: { list: Variable[] } };
