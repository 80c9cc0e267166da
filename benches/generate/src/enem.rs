//! Files of the layout of INEP's microdata: ENEM, ENADE 2017, higher education census 2019.
//!
//! The columns, separators and encodings are the real ones; the rows are made up.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Header of the ENEM file: 136 columns in the real one of 2019.
const ENEM_HEADER: &str = "NU_INSCRICAO;NU_ANO;CO_MUNICIPIO_RESIDENCIA;NO_MUNICIPIO_RESIDENCIA;CO_UF_RESIDENCIA;SG_UF_RESIDENCIA;NU_IDADE;TP_SEXO;TP_ESTADO_CIVIL;TP_COR_RACA;TP_NACIONALIDADE;CO_MUNICIPIO_NASCIMENTO;NO_MUNICIPIO_NASCIMENTO;CO_UF_NASCIMENTO;SG_UF_NASCIMENTO;TP_ST_CONCLUSAO;TP_ANO_CONCLUIU;TP_ESCOLA;TP_ENSINO;IN_TREINEIRO;CO_ESCOLA;CO_MUNICIPIO_ESC;NO_MUNICIPIO_ESC;CO_UF_ESC;SG_UF_ESC;TP_DEPENDENCIA_ADM_ESC;TP_LOCALIZACAO_ESC;TP_SIT_FUNC_ESC;IN_BAIXA_VISAO;IN_CEGUEIRA;IN_SURDEZ;IN_DEFICIENCIA_AUDITIVA;IN_SURDO_CEGUEIRA;IN_DEFICIENCIA_FISICA;IN_DEFICIENCIA_MENTAL;IN_DEFICIT_ATENCAO;IN_DISLEXIA;IN_DISCALCULIA;IN_AUTISMO;IN_VISAO_MONOCULAR;IN_OUTRA_DEF;IN_GESTANTE;IN_LACTANTE;IN_IDOSO;IN_ESTUDA_CLASSE_HOSPITALAR;IN_SEM_RECURSO;IN_BRAILLE;IN_AMPLIADA_24;IN_AMPLIADA_18;IN_LEDOR;IN_ACESSO;IN_TRANSCRICAO;IN_LIBRAS;IN_TEMPO_ADICIONAL;IN_LEITURA_LABIAL;IN_MESA_CADEIRA_RODAS;IN_MESA_CADEIRA_SEPARADA;IN_APOIO_PERNA;IN_GUIA_INTERPRETE;IN_COMPUTADOR;IN_CADEIRA_ESPECIAL;IN_CADEIRA_CANHOTO;IN_CADEIRA_ACOLCHOADA;IN_PROVA_DEITADO;IN_MOBILIARIO_OBESO;IN_LAMINA_OVERLAY;IN_PROTETOR_AURICULAR;IN_MEDIDOR_GLICOSE;IN_MAQUINA_BRAILE;IN_SOROBAN;IN_MARCA_PASSO;IN_SONDA;IN_MEDICAMENTOS;IN_SALA_INDIVIDUAL;IN_SALA_ESPECIAL;IN_SALA_ACOMPANHANTE;IN_MOBILIARIO_ESPECIFICO;IN_MATERIAL_ESPECIFICO;IN_NOME_SOCIAL;CO_MUNICIPIO_PROVA;NO_MUNICIPIO_PROVA;CO_UF_PROVA;SG_UF_PROVA;TP_PRESENCA_CN;TP_PRESENCA_CH;TP_PRESENCA_LC;TP_PRESENCA_MT;CO_PROVA_CN;CO_PROVA_CH;CO_PROVA_LC;CO_PROVA_MT;NU_NOTA_CN;NU_NOTA_CH;NU_NOTA_LC;NU_NOTA_MT;TX_RESPOSTAS_CN;TX_RESPOSTAS_CH;TX_RESPOSTAS_LC;TX_RESPOSTAS_MT;TP_LINGUA;TX_GABARITO_CN;TX_GABARITO_CH;TX_GABARITO_LC;TX_GABARITO_MT;TP_STATUS_REDACAO;NU_NOTA_COMP1;NU_NOTA_COMP2;NU_NOTA_COMP3;NU_NOTA_COMP4;NU_NOTA_COMP5;NU_NOTA_REDACAO;Q001;Q002;Q003;Q004;Q005;Q006;Q007;Q008;Q009;Q010;Q011;Q012;Q013;Q014;Q015;Q016;Q017;Q018;Q019;Q020;Q021;Q022;Q023;Q024;Q025";

/// States with a few of their cities, accents included.
const STATES: [(&str, [&str; 3]); 27] = [
    ("AC", ["Rio Branco", "Cruzeiro do Sul", "Tarauacá"]),
    ("AL", ["Maceió", "Arapiraca", "União dos Palmares"]),
    ("AM", ["Manaus", "Parintins", "Tefé"]),
    ("AP", ["Macapá", "Santana", "Oiapoque"]),
    ("BA", ["Salvador", "Feira de Santana", "Ilhéus"]),
    ("CE", ["Fortaleza", "Sobral", "Quixadá"]),
    ("DF", ["Brasília", "Brasília", "Brasília"]),
    ("ES", ["Vitória", "Vila Velha", "São Mateus"]),
    ("GO", ["Goiânia", "Anápolis", "Jataí"]),
    ("MA", ["São Luís", "Imperatriz", "Codó"]),
    ("MG", ["Belo Horizonte", "Uberlândia", "São João del Rei"]),
    ("MS", ["Campo Grande", "Corumbá", "Três Lagoas"]),
    ("MT", ["Cuiabá", "Sinop", "Cáceres"]),
    ("PA", ["Belém", "Santarém", "Marabá"]),
    ("PB", ["João Pessoa", "Campina Grande", "Patos"]),
    ("PE", ["Recife", "Olinda", "Petrolina"]),
    ("PI", ["Teresina", "Parnaíba", "Picos"]),
    ("PR", ["Curitiba", "Londrina", "Maringá"]),
    ("RJ", ["Rio de Janeiro", "Niterói", "Nova Iguaçu"]),
    ("RN", ["Natal", "Mossoró", "Caicó"]),
    ("RO", ["Porto Velho", "Ji-Paraná", "Vilhena"]),
    ("RR", ["Boa Vista", "Caracaraí", "Rorainópolis"]),
    ("RS", ["Porto Alegre", "Caxias do Sul", "Bagé"]),
    ("SC", ["Florianópolis", "Joinville", "Chapecó"]),
    ("SE", ["Aracaju", "Lagarto", "Itabaiana"]),
    ("SP", ["São Paulo", "Campinas", "São José dos Campos"]),
    ("TO", ["Palmas", "Araguaína", "Gurupi"]),
];

/// Paths of what was generated.
#[derive(Debug, Clone)]
pub struct EnemFiles {
    /// The ENEM file.
    pub enem: PathBuf,
    /// Its bytes.
    pub enem_bytes: u64,
}

/// Writes ENEM rows below `folder/landing`, with a hundredth as many rows of the other files, 100
/// at least.
///
/// # Errors
/// If the folder cannot be written.
pub fn enem(folder: &Path, rows: u64) -> io::Result<EnemFiles> {
    let enem = folder.join("landing/enem/MICRODADOS_ENEM.csv");
    write_latin1(&enem, |output| enem_rows(output, rows))?;
    let enade_row_count = (rows / 100).max(100);
    write_latin1(
        &folder.join("landing/enade2017/MICRODADOS_ENADE_2017.csv"),
        |output| enade_rows(output, enade_row_count),
    )?;
    for (name, seed_offset) in [("aluno", 1), ("docente", 2), ("curso", 3)] {
        let path = folder.join(format!(
            "landing/edsup2019/SUP_{}_2019.csv",
            name.to_uppercase()
        ));
        write_latin1(&path, |output| {
            edsup_rows(output, enade_row_count, seed_offset)
        })?;
    }
    let enem_bytes = fs::metadata(&enem)?.len();
    Ok(EnemFiles { enem, enem_bytes })
}

/// Gives `body` a buffer of text; what it writes is stored as ISO-8859-1.
fn write_latin1(
    path: &Path,
    body: impl FnOnce(&mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut output = BufWriter::with_capacity(1 << 20, File::create(path)?);
    body(&mut |line: &str| {
        if line.is_ascii() {
            output.write_all(line.as_bytes())?;
        } else {
            let bytes: Vec<u8> = line
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
                .collect();
            output.write_all(&bytes)?;
        }
        output.write_all(b"\n")
    })?;
    output.flush()
}

fn enem_rows(write: &mut dyn FnMut(&str) -> io::Result<()>, rows: u64) -> io::Result<()> {
    let columns: Vec<&str> = ENEM_HEADER.split(';').collect();
    write(ENEM_HEADER)?;
    let mut line = String::with_capacity(1024);
    for row in 0..rows {
        line.clear();
        let mut person = Person::new(row);
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                line.push(';');
            }
            person.write_value(column, row, &mut line);
        }
        write(&line)?;
    }
    Ok(())
}

struct Person {
    random: Random,
    state: usize,
    city: usize,
    present: bool,
}

impl Person {
    fn new(row: u64) -> Self {
        let mut random = Random::new(row.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 2019);
        let state = usize::try_from(random.next_below(27)).unwrap_or(0);
        let city = usize::try_from(random.next_below(3)).unwrap_or(0);
        let present = random.chance(73);
        Self {
            random,
            state,
            city,
            present,
        }
    }

    /// Whether the column stays empty: three of four candidates name no school, and absent ones
    /// have no results.
    fn is_empty(&self, column: &str, row: u64) -> bool {
        let is_about_school = column.ends_with("_ESC") || column == "CO_ESCOLA";
        let is_about_exam = ["NU_NOTA", "TX_RESPOSTAS", "TX_GABARITO", "CO_PROVA"]
            .iter()
            .any(|prefix| column.starts_with(prefix));
        is_about_school && !row.is_multiple_of(4) || is_about_exam && !self.present
    }

    /// Appends the value of a column to the line.
    fn write_value(&mut self, column: &str, row: u64, line: &mut String) {
        use std::fmt::Write as _;
        if self.is_empty(column, row) {
            return;
        }
        let (state, cities) = STATES[self.state];
        let random = &mut self.random;
        let _ = match column {
            "NU_INSCRICAO" => write!(line, "{}", 190_001_000_000 + row),
            "NU_ANO" => write!(line, "2019"),
            "NU_IDADE" => write!(
                line,
                "{}",
                16 + random.next_below(12) + random.next_below(12) * random.next_below(4)
            ),
            "TP_SEXO" => write!(line, "{}", if random.chance(59) { 'F' } else { 'M' }),
            "TP_ESCOLA" | "TP_ST_CONCLUSAO" | "TP_LINGUA" => {
                write!(line, "{}", random.next_below(3))
            }
            _ if column.starts_with("SG_UF") && column != "SG_UF_ESC" => write!(line, "{state}"),
            _ if column.starts_with("NO_MUNICIPIO") && column != "NO_MUNICIPIO_ESC" => {
                write!(line, "{}", cities[self.city])
            }
            _ if column.starts_with("CO_MUNICIPIO") && column != "CO_MUNICIPIO_ESC" => {
                write!(line, "{}", 1_100_000 + self.state * 10_000 + self.city)
            }
            _ if column.starts_with("CO_UF") && column != "CO_UF_ESC" => {
                write!(line, "{}", 11 + self.state)
            }
            "SG_UF_ESC" => write!(line, "{state}"),
            _ if column.ends_with("_ESC") => write!(line, "1"),
            "CO_ESCOLA" => write!(line, "{}", 11_000_000 + random.next_below(40_000)),
            _ if column.starts_with("NU_NOTA") => {
                write!(
                    line,
                    "{}.{}",
                    300 + random.next_below(550),
                    random.next_below(10)
                )
            }
            _ if column.starts_with("TX_RESPOSTAS") || column.starts_with("TX_GABARITO") => (0..45)
                .try_for_each(|_| write!(line, "{}", random.pick(&['A', 'B', 'C', 'D', 'E', '.']))),
            _ if column.starts_with("CO_PROVA") => write!(line, "{}", 500 + random.next_below(60)),
            _ if column.starts_with("TP_PRESENCA") => write!(line, "{}", u8::from(self.present)),
            _ if column.starts_with('Q') => {
                write!(line, "{}", random.pick(&['A', 'B', 'C', 'D', 'E']))
            }
            _ if column.starts_with("IN_") => write!(line, "{}", u8::from(random.chance(1))),
            _ => write!(line, "{}", random.next_below(7)),
        };
    }
}

fn enade_rows(write: &mut dyn FnMut(&str) -> io::Result<()>, rows: u64) -> io::Result<()> {
    write("NU_ANO;CO_IES;CO_CURSO;CO_GRUPO;NU_IDADE;TP_SEXO;NT_GER;NT_FG;NT_CE")?;
    for row in 0..rows {
        let mut random = Random::new(row ^ 2017);
        let (ies, course, group, age) = (
            1 + random.next_below(2500),
            1000 + random.next_below(90_000),
            1 + random.next_below(6500),
            20 + random.next_below(30),
        );
        let sex = if random.chance(55) { 'F' } else { 'M' };
        let mut mark = || {
            if random.chance(12) {
                String::new()
            } else {
                format!("{},{}", random.next_below(100), random.next_below(10))
            }
        };
        write(&format!(
            "2017;{ies};{course};{group};{age};{sex};{};{};{}",
            mark(),
            mark(),
            mark()
        ))?;
    }
    Ok(())
}

fn edsup_rows(
    write: &mut dyn FnMut(&str) -> io::Result<()>,
    rows: u64,
    seed_offset: u64,
) -> io::Result<()> {
    write("NU_ANO_CENSO|CO_IES|ID|NO_MUNICIPIO|SG_UF|TP_SEXO|TP_COR_RACA|NU_IDADE")?;
    for row in 0..rows {
        let mut random = Random::new(row ^ (seed_offset << 32));
        let (state, cities) = *random.pick(&STATES);
        let city = *random.pick(&cities);
        let (ies, sex, race, age) = (
            1 + random.next_below(2600),
            1 + random.next_below(2),
            random.next_below(7),
            17 + random.next_below(50),
        );
        write(&format!(
            "2019|{ies}|{row}|{city}|{state}|{sex}|{race}|{age}"
        ))?;
    }
    Ok(())
}
