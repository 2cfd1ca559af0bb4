/**
 * Prompt libraries of Node and friends. TRANSCRIPT_TOOLS names a directory where they are installed by npm.
 */
import type { RecordingCase, Step } from './case.ts';

const env = {
  NODE_PATH: `${process.env.TRANSCRIPT_TOOLS ?? '/tmp/q-tools'}/node_modules`,
  NODE_NO_WARNINGS: '1',
};
const down: Step = { keys: '\x1b[B' };

function node(
  name: string,
  script: string,
  rest: Pick<RecordingCase, 'steps' | 'expected'> & Partial<RecordingCase>,
): RecordingCase {
  return { name, env, setup: `cat > ask.js <<'END'\n${script}\nEND`, run: 'node ask.js', ...rest };
}
const colours = `['Red','Green','Dark blue'].map((name)=>({name,value:name}))`;

export const cases: readonly RecordingCase[] = [
  node(
    'inquirer-select',
    `require('@inquirer/prompts').select({message:'Select a package manager',choices:${colours}})`,
    {
      steps: [{ until: /package manager/ }, { settle: 200 }, down],
      expected: { asking: true, kind: 'choice', question: 'Select a package manager', options: 3 },
    },
  ),
  node(
    'inquirer-select-answered',
    `require('@inquirer/prompts').select({message:'Select a package manager',choices:${colours}}).then(()=>{console.log('Installing packages...');setInterval(()=>{},1000)})`,
    {
      steps: [{ until: /package manager/ }, { settle: 200 }, { keys: '\r' }],
      expected: { asking: false },
    },
  ),
  node(
    'inquirer-checkbox',
    `require('@inquirer/prompts').checkbox({message:'Which features?',choices:${colours}})`,
    {
      steps: [{ until: /features/ }, { settle: 200 }, { keys: ' ' }, down],
      expected: { asking: true, kind: 'choice', question: 'Which features?', options: 3 },
    },
  ),
  node(
    'inquirer-confirm',
    `require('@inquirer/prompts').confirm({message:'Overwrite the existing files?',default:false})`,
    {
      steps: [{ until: /Overwrite/ }],
      expected: { asking: true, kind: 'confirm', question: 'Overwrite the existing files?', options: 2 },
    },
  ),
  node('inquirer-input', `require('@inquirer/prompts').input({message:'Project name:',default:'my-app'})`, {
    steps: [{ until: /Project name/ }],
    expected: { asking: true, kind: 'text', question: 'Project name' },
  }),
  node('inquirer-password', `require('@inquirer/prompts').password({message:'Registry token'})`, {
    steps: [{ until: /token/ }],
    expected: { asking: true, kind: 'secret', question: 'Registry token' },
  }),
  node(
    'inquirer-old-list',
    `require('inquirer').prompt([{type:'list',name:'a',message:'What do you want to do?',choices:['Commit','Push','Abort']}])`,
    {
      steps: [{ until: /Abort/ }],
      expected: { asking: true, kind: 'choice', question: 'What do you want to do?', options: 3 },
    },
  ),
  node(
    'inquirer-rawlist',
    `require('@inquirer/prompts').rawlist({message:'Which region?',choices:${colours}})`,
    {
      steps: [{ until: /region/ }],
      expected: { asking: true, kind: 'choice', question: 'Which region?', options: 3 },
    },
  ),
  node(
    'prompts-select',
    `require('prompts')({type:'select',name:'v',message:'Pick a colour',choices:[{title:'Red'},{title:'Green'},{title:'Blue'}]})`,
    {
      steps: [{ until: /colour/ }],
      expected: { asking: true, kind: 'choice', question: 'Pick a colour', options: 3 },
    },
  ),
  node(
    'prompts-toggle',
    `require('prompts')({type:'toggle',name:'v',message:'Use TypeScript?',active:'yes',inactive:'no',initial:true})`,
    {
      steps: [{ until: /TypeScript/ }],
      expected: { asking: true, kind: 'confirm', question: 'Use TypeScript?', options: 2 },
    },
  ),
  node(
    'prompts-confirm',
    `require('prompts')({type:'confirm',name:'v',message:'Continue with the upgrade?',initial:true})`,
    {
      steps: [{ until: /upgrade/ }],
      expected: { asking: true, kind: 'confirm', question: 'Continue with the upgrade?', options: 2 },
    },
  ),
  node(
    'prompts-text',
    `require('prompts')({type:'text',name:'v',message:'Project name:',initial:'vite-project'})`,
    {
      steps: [{ until: /Project name/ }],
      expected: { asking: true, kind: 'text', question: 'Project name' },
    },
  ),
  node(
    'prompts-multiselect',
    `require('prompts')({type:'multiselect',name:'v',message:'Pick toppings',choices:[{title:'Cheese',selected:true},{title:'Olives'},{title:'Ham'}]})`,
    {
      steps: [{ until: /toppings/ }],
      expected: { asking: true, kind: 'choice', question: 'Pick toppings', options: 3 },
    },
  ),
  node(
    'enquirer-select',
    `require('enquirer').prompt({type:'select',name:'v',message:'Pick a flavour',choices:['apple','grape','watermelon']})`,
    {
      steps: [{ until: /flavour/ }],
      expected: { asking: true, kind: 'choice', question: 'Pick a flavour', options: 3 },
    },
  ),
  node(
    'enquirer-confirm',
    `require('enquirer').prompt({type:'confirm',name:'v',message:'Deploy to production?'})`,
    {
      steps: [{ until: /production/ }],
      expected: { asking: true, kind: 'confirm', question: 'Deploy to production?', options: 2 },
    },
  ),
  node(
    'enquirer-input',
    `require('enquirer').prompt({type:'input',name:'v',message:'What is your username?',initial:'dev'})`,
    {
      steps: [{ until: /username/ }],
      expected: { asking: true, kind: 'text', question: 'What is your username?' },
    },
  ),
  node(
    'enquirer-toggle',
    `require('enquirer').prompt({type:'toggle',name:'v',message:'Want to answer?',enabled:'Yep',disabled:'Nope'})`,
    {
      steps: [{ until: /answer/ }],
      expected: { asking: true, kind: 'confirm', question: 'Want to answer?', options: 2 },
    },
  ),
  node(
    'clack-select',
    `const p=require('@clack/prompts');p.intro('create-app');p.select({message:'Pick a framework',options:[{value:'r',label:'React',hint:'popular'},{value:'v',label:'Vue'},{value:'s',label:'Svelte'}]})`,
    {
      steps: [{ until: /framework/ }],
      expected: { asking: true, kind: 'choice', question: 'Pick a framework', options: 3 },
    },
  ),
  node(
    'clack-text',
    `const p=require('@clack/prompts');p.intro('create-app');p.text({message:'Where should we create your project?',placeholder:'./sparkling-solid'})`,
    {
      steps: [{ until: /Where/ }],
      expected: { asking: true, kind: 'text', question: 'Where should we create your project?' },
    },
  ),
  node(
    'clack-confirm',
    `const p=require('@clack/prompts');p.intro('create-app');p.confirm({message:'Install dependencies?'})`,
    {
      steps: [{ until: /Install/ }],
      expected: { asking: true, kind: 'confirm', question: 'Install dependencies?', options: 2 },
    },
  ),
  node(
    'clack-multiselect',
    `const p=require('@clack/prompts');p.multiselect({message:'Select additional tools',options:[{value:'e',label:'ESLint'},{value:'p',label:'Prettier'},{value:'g',label:'GitHub Actions'}]})`,
    {
      steps: [{ until: /additional/ }],
      expected: { asking: true, kind: 'choice', question: 'Select additional tools', options: 3 },
    },
  ),
  node('clack-password', `const p=require('@clack/prompts');p.password({message:'Enter your API key'})`, {
    steps: [{ until: /API key/ }, { keys: 'abc' }],
    expected: { asking: true, kind: 'secret', question: 'Enter your API key' },
  }),
  node(
    'clack-spinner',
    `const p=require('@clack/prompts');p.intro('create-app');p.log.step('Install dependencies?');const s=p.spinner();s.start('Installing, do you want to wait?')`,
    {
      steps: [{ until: /Installing/ }, { pause: 900 }],
      expected: { asking: false },
    },
  ),
  node(
    'node-readline',
    `const r=require('readline').createInterface(process.stdin,process.stdout);r.question('What is the name of the new branch? ',()=>{})`,
    {
      steps: [{ until: /branch/ }],
      expected: { asking: true, kind: 'text', question: 'What is the name of the new branch?' },
    },
  ),
];
