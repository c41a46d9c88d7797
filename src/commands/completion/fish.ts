import { valueFlags, type Flag, type Place } from './words.ts';

/** One `complete` line a word and a flag. */
export function fishScript(places: Place[]): string {
  const lines = places.flatMap((place) => {
    const condition = `-n ${quote(`__dbops_${place.isCommand ? 'under' : 'at'} ${quote(place.path)}`)}`;
    return [
      ...place.words.map(
        ({ word, about }) => `complete -c dbops ${condition} -a ${quote(word)} -d ${quote(about)}`,
      ),
      ...place.flags.map((flag) => `complete -c dbops ${condition} ${flagText(flag)}`),
    ];
  });
  return `# dbops completion fish > ~/.config/fish/completions/dbops.fish
function __dbops_spoken
  set -l spoken
  set -l skip 0
  for word in (commandline -opc)[2..-1]
    if test $skip = 1
      set skip 0
      continue
    end
    switch $word
      case ${valueFlags(places).join(' ')}
        set skip 1
      case '-*'
      case '*'
        set -a spoken $word
    end
  end
  string join ' ' -- $spoken
end
function __dbops_at
  test (__dbops_spoken | string collect -a) = "$argv[1]"
end
function __dbops_under
  set -l spoken (__dbops_spoken | string collect -a)
  test "$spoken" = "$argv[1]"; or string match -q -- "$argv[1] *" "$spoken"
end
complete -c dbops -f
${lines.join('\n')}
`;
}

function flagText(flag: Flag): string {
  const short = flag.short === undefined ? '' : ` -s ${flag.short.slice(1)}`;
  const value = !flag.takesValue ? '' : flag.isFile ? ' -r -F' : ' -x';
  return `-l ${flag.long.slice(2)}${short}${value} -d ${quote(flag.about)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
